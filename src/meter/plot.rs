//! Curves as SVG text, without a library: panels one below the other, each with its axes and a legend.
//!
//! ```text
//! y label
//! 12 |        .--*        * name
//!  8 |   *---'
//!  4 |__________________
//!    0    1000   2000     x label
//! ```

use core::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 260.0;
/// Room around the axes: left, right, top, bottom.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 42.0;
/// Points of a curve; more are drawn as means of neighbours.
const MOST_POINTS: usize = 1000;
/// Curves that have points of their own drawn as dots.
const MOST_DOTS: usize = 60;
/// Okabe and Ito's colours, which most eyes tell apart.
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
];

/// One curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Its points (x, y), by x. Such as are no numbers are left out.
    pub points: Vec<(f64, f64)>,
}

/// Curves that share their axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What stands above it.
    pub title: String,
    /// What x is.
    pub x: String,
    /// What y is.
    pub y: String,
    /// The curves. Without a point in any, the panel says that nothing was measured.
    pub curves: Vec<Curve>,
}

/// A picture of `panels`.
#[must_use]
pub fn svg(panels: &[Panel]) -> String {
    let height = HEIGHT * panels.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (i, panel) in panels.iter().enumerate() {
        let top = HEIGHT * i as f64;
        draw(panel, top, &mut out);
    }
    out.push_str("</svg>\n");
    out
}

fn draw(panel: &Panel, top: f64, out: &mut String) {
    let curves: Vec<Curve> = panel.curves.iter().map(thinned).collect();
    text(
        out,
        LEFT,
        top + 20.0,
        "start",
        &panel.title,
        " font-weight=\"bold\"",
    );
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let Some((x_low, x_high)) = ends(points().map(|point| point.0)) else {
        text(
            out,
            LEFT,
            top + HEIGHT / 2.0,
            "start",
            "nothing was measured",
            "",
        );
        return;
    };
    // Rates and watts begin at 0, so that heights compare as the numbers do.
    let y_high = points().map(|point| point.1).fold(0.0, f64::max);
    let (x_ticks, y_ticks) = (ticks(x_low, x_high), ticks(0.0, y_high));
    let x_low = x_low.min(x_ticks[0]);
    let x_high = x_high.max(x_ticks[x_ticks.len() - 1]);
    let y_high = y_high.max(y_ticks[y_ticks.len() - 1]);
    let (bottom, right) = (top + HEIGHT - BOTTOM, WIDTH - RIGHT);
    let at_x = |x: f64| LEFT + (x - x_low) / (x_high - x_low) * (right - LEFT);
    let at_y = |y: f64| bottom - y / y_high * (bottom - top - TOP);
    for &y in &y_ticks {
        let place = at_y(y);
        line(out, LEFT, place, right, place, "#dddddd");
        text(out, LEFT - 6.0, place + 4.0, "end", &short(y), "");
    }
    for &x in &x_ticks {
        let place = at_x(x);
        line(out, place, bottom, place, bottom + 4.0, "black");
        text(out, place, bottom + 17.0, "middle", &short(x), "");
    }
    line(out, LEFT, bottom, right, bottom, "black");
    text(
        out,
        f64::midpoint(LEFT, right),
        bottom + 34.0,
        "middle",
        &panel.x,
        "",
    );
    text(out, right, top + 20.0, "end", &panel.y, "");
    for (i, curve) in curves.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let place = |&(x, y): &(f64, f64)| format!("{:.1},{:.1}", at_x(x), at_y(y));
        let places: Vec<String> = curve.points.iter().map(place).collect();
        let _ = writeln!(
            out,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>",
            places.join(" ")
        );
        if curve.points.len() <= MOST_DOTS {
            for &(x, y) in &curve.points {
                let (x, y) = (at_x(x), at_y(y));
                let _ = writeln!(
                    out,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
                );
            }
        }
        let row = top + TOP + 14.0 + 18.0 * i as f64;
        let _ = writeln!(
            out,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>",
            right + 12.0,
            row - 9.0
        );
        text(out, right + 28.0, row, "start", &curve.name, "");
    }
}

/// The curve with finite points only, and with means of neighbours where there are too many.
fn thinned(curve: &Curve) -> Curve {
    let finite = |point: &&(f64, f64)| point.0.is_finite() && point.1.is_finite() && point.1 >= 0.0;
    let points: Vec<(f64, f64)> = curve.points.iter().filter(finite).copied().collect();
    let mean = |few: &[(f64, f64)]| {
        let n = few.len() as f64;
        let sum = few
            .iter()
            .fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / n, sum.1 / n)
    };
    let step = points.len().div_ceil(MOST_POINTS).max(1);
    Curve {
        name: curve.name.clone(),
        points: points.chunks(step).map(mean).collect(),
    }
}

fn ends(numbers: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    numbers.fold(None, |ends, x| match ends {
        None => Some((x, x)),
        Some((low, high)) => Some((x.min(low), x.max(high))),
    })
}

/// Three to nine round numbers from about `low` to about `high`; at least two, the ends of an interval that holds both.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = match high - low {
        span if span > 0.0 => span,
        _ => low.abs().max(1.0),
    };
    let rough = span / 5.0;
    let unit = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|step| step * unit >= rough)
        .unwrap_or(10.0)
        * unit;
    let first = (low / step).floor();
    let last = (high / step).ceil().max(first + 1.0);
    let mut ticks = Vec::new();
    let mut tick = first;
    while tick <= last && ticks.len() < 20 {
        ticks.push(tick * step);
        tick += 1.0;
    }
    ticks
}

/// A number in as few letters as it needs.
fn short(number: f64) -> String {
    let text = format!("{number:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".into()
    } else {
        text.into()
    }
}

fn line(out: &mut String, x1: f64, y1: f64, x2: f64, y2: f64, colour: &str) {
    let _ = writeln!(
        out,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>"
    );
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, words: &str, more: &str) {
    let words = words
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{more}>{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(curves: Vec<Curve>) -> Panel {
        Panel {
            title: "speed <of> a & b".into(),
            x: "depth".into(),
            y: "tok/s".into(),
            curves,
        }
    }

    fn curve(points: &[(f64, f64)]) -> Curve {
        Curve {
            name: "tg".into(),
            points: points.to_vec(),
        }
    }

    #[test]
    fn points_lie_where_the_axes_say() {
        let picture = svg(&[panel(vec![curve(&[(0.0, 0.0), (1000.0, 10.0)])])]);
        // Left and bottom, right and top.
        assert!(
            picture.contains("points=\"64.0,218.0 590.0,34.0\""),
            "{picture}"
        );
        assert!(picture.contains("speed &lt;of&gt; a &amp; b"), "{picture}");
        assert!(
            picture.contains(">1000</text>") && picture.contains(">10</text>"),
            "{picture}"
        );
    }

    #[test]
    fn every_element_is_closed() {
        let many: Vec<(f64, f64)> = (0..5000).map(|i| (f64::from(i), 5.0)).collect();
        let odd = [(0.0, f64::NAN), (1.0, 2.0), (f64::INFINITY, 1.0)];
        let picture = svg(&[panel(vec![curve(&many), curve(&odd)]), panel(Vec::new())]);
        for line in picture.lines().skip(1) {
            let whole = line.ends_with("/>") || line.ends_with("</text>") || line == "</svg>";
            assert!(
                whole && !line.contains("NaN") && !line.contains("inf"),
                "{line}"
            );
        }
        assert!(picture.contains("nothing was measured"));
        let longest = picture.lines().map(str::len).max();
        assert!(longest < Some(20_000), "a thousand points at most");
    }

    #[test]
    fn ticks_are_round_and_hold_the_ends() {
        for (low, high) in [
            (0.0, 0.0),
            (0.0, 7.3),
            (3.0, 3.0),
            (0.0, 1e-3),
            (12.0, 98_765.0),
        ] {
            let ticks = ticks(low, high);
            assert!((2..10).contains(&ticks.len()), "{ticks:?}");
            assert!(
                ticks[0] <= low && ticks[ticks.len() - 1] >= high,
                "{low} {high} {ticks:?}"
            );
        }
        assert_eq!(ticks(0.0, 10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    }
}
