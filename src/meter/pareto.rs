//! Which of several ways to run are worth choosing: those that no other beats in both speed and energy.

/// A way to run, as it was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Tokens a second.
    pub tok_s: f64,
    /// Tokens a joule; `None` where no sensor told.
    pub tok_j: Option<f64>,
}

impl Point {
    /// Whether this one is at least as good in both, and better in one. A point without energy is beaten by speed alone.
    fn beats(&self, other: &Self) -> bool {
        let faster = self.tok_s > other.tok_s;
        match (self.tok_j, other.tok_j) {
            (Some(mine), Some(theirs)) => {
                let no_worse = self.tok_s >= other.tok_s && mine >= theirs;
                no_worse && (faster || mine > theirs)
            }
            _ => faster,
        }
    }
}

/// For each point, whether it is in the Pareto set.
#[must_use]
pub fn set(points: &[Point]) -> Vec<bool> {
    points
        .iter()
        .map(|point| !points.iter().any(|other| other.beats(point)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(tok_s: f64, tok_j: f64) -> Point {
        Point {
            tok_s,
            tok_j: Some(tok_j),
        }
    }

    #[test]
    fn what_is_beaten_in_both_is_out() {
        let points = [
            point(5.0, 0.40), // the fastest
            point(4.0, 0.50),
            point(3.0, 0.45), // beaten by the second
            point(2.0, 0.60), // the thriftiest
            point(4.0, 0.50), // as good as the second
            point(4.0, 0.49),
        ];
        assert_eq!(set(&points), [true, true, false, true, true, false]);
    }

    #[test]
    fn without_energy_only_the_fastest_stays() {
        let speed = |tok_s| Point { tok_s, tok_j: None };
        assert_eq!(
            set(&[speed(1.0), speed(3.0), speed(2.0)]),
            [false, true, false]
        );
        assert_eq!(set(&[]), Vec::<bool>::new());
    }
}
