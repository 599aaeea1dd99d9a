//! Sections run whole, once a tile, for any number of threads; what goes wrong in a tile stays in its section.

use super::*;
use proptest::prelude::*;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

fn pool(threads: usize) -> Pool {
    Pool::start(threads, None).expect("threads")
}

/// What a panic of `f` says.
fn thrown(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("a panic");
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|&text| text.into()))
        .expect("a message")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_tile_runs_once(threads in 1_usize..6, tiles in 0_usize..200) {
        let pool = pool(threads);
        let runs: Vec<AtomicUsize> = (0..tiles).map(|_| AtomicUsize::new(0)).collect();
        for _ in 0..3 {
            pool.run(tiles, |tile, worker| {
                assert!(worker < threads, "worker {worker} of {threads}");
                runs[tile].fetch_add(1, Relaxed);
            });
        }
        prop_assert!(runs.iter().all(|n| n.load(Relaxed) == 3), "{:?}", runs);
    }

    #[test]
    fn the_result_is_the_same_for_any_number_of_threads(
        rows in 1_usize..4,
        width in 1_usize..120,
        tile in 1_usize..40,
    ) {
        let product = |threads: usize| {
            let mut out = vec![0.0_f32; rows * width];
            pool(threads).columns(&mut out, width, tile, |mut columns, _| {
                for row in 0..columns.rows() {
                    let start = columns.start();
                    for (i, x) in columns.row_mut(row).iter_mut().enumerate() {
                        *x += ((row + 1) as f32).sin() * (start + i) as f32;
                    }
                }
            });
            out
        };
        let one = product(1);
        for threads in 2..5 {
            prop_assert_eq!(&product(threads), &one, "{} threads", threads);
        }
    }
}

#[test]
fn items_and_chunks_know_their_place() {
    let pool = pool(3);
    let mut items: Vec<String> = vec![String::new(); 50];
    pool.each(&mut items, |i, item| item.push_str(&i.to_string()));
    assert!(
        items.iter().enumerate().all(|(i, s)| *s == i.to_string()),
        "{items:?}"
    );
    let mut bytes = [0_u8; 11];
    pool.chunks(&mut bytes, 4, |i, chunk| chunk.fill(i as u8));
    assert_eq!(bytes, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]);
    pool.chunks(&mut [0_u8; 0], 4, |_, _| panic!("no chunk of nothing"));
}

#[test]
fn parts_of_several_slices_come_once_however_many() {
    let pool = pool(3);
    for parts in [0, 1, PARTS - 1, PARTS, PARTS + 1, 3 * PARTS] {
        let (mut sums, mut squares) = (vec![0; 2 * parts], vec![0; parts]);
        let both = sums.chunks_mut(2).zip(&mut squares).enumerate();
        pool.parts(both, |(i, (sum, square))| {
            sum.iter_mut().for_each(|n| *n += 2 * i);
            *square += i * i;
        });
        assert!(sums.iter().enumerate().all(|(i, n)| *n == i / 2 * 2));
        assert!(squares.iter().enumerate().all(|(i, n)| *n == i * i));
    }
    pool.parts(core::iter::empty::<u8>(), |_| panic!("no part of nothing"));
}

#[test]
fn each_worker_has_scratch_of_its_own() {
    let pool = pool(4);
    let mut scratch = vec![0_usize; 4];
    let sum = AtomicUsize::new(0);
    pool.run_with(&mut scratch, 500, |tile, own| {
        *own += 1;
        sum.fetch_add(tile, Relaxed);
    });
    assert_eq!(sum.load(Relaxed), 499 * 500 / 2);
    assert_eq!(scratch.iter().sum::<usize>(), 500, "{scratch:?}");
    let mut out = [0_u16; 90];
    pool.columns_with(&mut scratch, &mut out, 30, 7, |mut columns, own| {
        *own += columns.rows() * columns.len();
        for row in 0..columns.rows() {
            columns.row_mut(row).fill(1);
        }
    });
    assert_eq!(scratch.iter().sum::<usize>(), 590, "{scratch:?}");
    assert_eq!(out, [1; 90]);
    let told = thrown(|| pool.run_with(&mut [(), ()], 1, |_, ()| {}));
    assert!(told.contains("2 of 4 workers"), "{told}");
}

#[test]
fn many_small_sections_are_quick() {
    let pool = pool(2);
    let sum = AtomicU64::new(0);
    let started = Instant::now();
    for _ in 0..10_000 {
        pool.run(4, |tile, _| {
            sum.fetch_add(tile as u64, Relaxed);
        });
    }
    let took = started.elapsed();
    assert_eq!(sum.load(Relaxed), 60_000);
    // Some milliseconds; the bound is for an emulator on a busy machine, and fails on a system call's sleep a section.
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn more_threads_than_cores_finish() {
    let pool = pool(24);
    let sum = AtomicUsize::new(0);
    for _ in 0..100 {
        pool.run(64, |tile, _| {
            sum.fetch_add(tile, Relaxed);
        });
    }
    assert_eq!(sum.load(Relaxed), 100 * 63 * 64 / 2);
}

#[test]
fn a_panic_in_a_tile_leaves_the_call_and_not_the_pool() {
    for threads in [1, 2, 4] {
        let pool = pool(threads);
        let running = AtomicUsize::new(0);
        for bad in [0, 7, 63] {
            let told = thrown(|| {
                pool.run(64, |tile, _| {
                    running.fetch_add(1, Relaxed);
                    thread::sleep(Duration::from_micros(10));
                    running.fetch_sub(1, Relaxed);
                    assert!(tile != bad, "tile {tile} is bad");
                });
            });
            assert_eq!(told, format!("tile {bad} is bad"));
            assert_eq!(running.load(Relaxed), 0, "a thread still works");
        }
        let sum = AtomicUsize::new(0);
        pool.run(10, |tile, _| {
            sum.fetch_add(tile, Relaxed);
        });
        assert_eq!(sum.load(Relaxed), 45, "the pool works on");
    }
}

#[test]
fn all_tiles_may_panic() {
    let pool = pool(3);
    let told = thrown(|| pool.run(9, |_, _| panic!("every one")));
    assert_eq!(told, "every one");
    pool.run(9, |_, _| {});
}

#[test]
fn a_tile_cannot_use_a_pool() {
    let (outer, other) = (pool(2), pool(1));
    for inner in [&outer, &other] {
        for tiles in [1, 8] {
            let told = thrown(|| outer.run(tiles, |_, _| inner.run(1, |_, _| {})));
            assert!(told.contains("used a pool"), "{told}");
        }
    }
    outer.run(2, |_, _| {});
}

#[test]
fn threads_take_turns_with_one_pool() {
    let pool = pool(2);
    let mut sums = [0_usize; 3];
    thread::scope(|s| {
        for sum in &mut sums {
            let pool = &pool;
            s.spawn(move || {
                for _ in 0..100 {
                    let mut items = [1_usize; 16];
                    pool.each(&mut items, |i, item| *item += i);
                    *sum += items.iter().sum::<usize>();
                }
            });
        }
    });
    assert_eq!(sums, [100 * 136; 3]);
}

#[test]
fn dropping_a_pool_ends_its_threads() {
    for pause in [Duration::ZERO, Duration::from_millis(2)] {
        let pool = pool(4);
        let lend = Arc::downgrade(&pool.lend);
        thread::sleep(pause);
        drop(pool);
        assert!(lend.upgrade().is_none(), "a worker still holds it");
    }
}

#[test]
fn the_number_of_threads_is_checked() {
    let most = Topology::here().most_threads();
    assert_eq!(Pool::new(Some(most)).expect("allowed").threads(), most);
    let usual = Pool::new(None).expect("the default").threads();
    assert!((1..=most).contains(&usual), "{usual} of {most}");
    for wrong in [0, most + 1, usize::MAX] {
        let told = Pool::new(Some(wrong)).expect_err("refused").to_string();
        assert_eq!(
            told,
            format!("-t {wrong}: expected 1 to {most}, the cores that this process may use")
        );
    }
}

/// What a section costs beyond its work: `cargo test --release -- --ignored --nocapture section_costs`.
#[test]
#[ignore = "a measurement"]
fn section_costs() {
    for threads in 1..=Topology::here().most_threads() {
        let pool = pool(threads);
        let cost = |what: &str, runs: u32, section: &dyn Fn()| {
            let mut rounds_ns = [0.0; 9];
            for round_ns in &mut rounds_ns {
                let started = Instant::now();
                (0..runs).for_each(|_| section());
                *round_ns = started.elapsed().as_secs_f64() * 1e9 / f64::from(runs);
            }
            rounds_ns.sort_by(f64::total_cmp);
            let [best, .., _] = rounds_ns;
            println!(
                "{threads} threads, {what}: {:.0} ns (best {best:.0})",
                rounds_ns[4]
            );
        };
        for tiles in [1, threads, 64] {
            cost(&format!("{tiles} empty tiles"), 200_000, &|| {
                pool.run(core::hint::black_box(tiles), |_, _| {});
            });
        }
        // The whole way: out to every worker and back.
        let meet = || {
            let came = AtomicUsize::new(0);
            pool.run(threads, |_, _| {
                came.fetch_add(1, Relaxed);
                while came.load(Relaxed) < threads {
                    core::hint::spin_loop();
                }
            });
        };
        cost("all meet", 20_000, &meet);
        let pause = Duration::from_millis(1);
        cost("1 ms of sleep", 200, &|| thread::sleep(pause));
        cost("1 ms of sleep, then all meet", 200, &|| {
            thread::sleep(pause);
            meet();
        });
    }
}
