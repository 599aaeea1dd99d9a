//! Which cores a thread may run on.

use rustix::thread::{CpuSet, sched_setaffinity};

/// Keeps the current thread, and threads that it starts from now on, on the cores with these ids.
///
/// Returns whether the kernel agreed. A refusal (a sandbox, a core taken offline) costs speed and nothing else.
pub fn confine(cores: &[usize]) -> bool {
    let mut set = CpuSet::new();
    for &core in cores {
        if core >= CpuSet::MAX_CPU {
            return false;
        }
        set.set(core);
    }
    sched_setaffinity(None, &set).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::thread::sched_getaffinity;

    /// Each case has a thread of its own, so that the other tests keep their cores.
    fn alone<T: Send>(case: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|s| s.spawn(case).join()).expect("the case ran")
    }

    #[test]
    fn a_confined_thread_has_just_these_cores() {
        alone(|| {
            let before = sched_getaffinity(None).expect("the allowed cores");
            let first = (0..CpuSet::MAX_CPU)
                .find(|&core| before.is_set(core))
                .expect("a core");
            assert!(confine(&[first]), "an allowed core was refused");
            let now = sched_getaffinity(None).expect("the allowed cores");
            assert!(now.count() == 1 && now.is_set(first), "{now:?}");
        });
    }

    #[test]
    fn cores_that_cannot_be_are_refused() {
        alone(|| {
            assert!(!confine(&[]), "no core at all");
            assert!(!confine(&[usize::MAX]), "an id out of range");
        });
    }
}
