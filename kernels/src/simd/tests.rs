//! The integer vocabulary, exactly, on every instruction set.

use super::{Simd, SimdOp};
use crate::Isa;
use crate::tile::Codes;
use core::array::from_fn;
use proptest::prelude::*;

/// All integer operations on one set of bytes.
struct Integers {
    w: [u8; 32],
    a: [i8; 32],
    scales: [i8; 16],
    word: u32,
}

impl SimdOp for Integers {
    type Output = ();

    fn eval<S: Simd>(self, s: S) {
        let Integers { w, a, scales, word } = self;
        let acts = s.acts(&a);
        let is = |b: S::B, want: [u8; 32]| {
            // Bytes are looked at one at a time through the products, which makes no operation for reading needed.
            for i in 0..32 {
                let mut one = [0; 32];
                one[i] = 1;
                assert_eq!(
                    s.sum_i(s.dot_i8(b, s.acts(&one))),
                    i32::from(want[i] as i8),
                    "byte {i}"
                );
            }
        };
        let sum =
            |w: &[i32], a: &[i8]| -> i32 { w.iter().zip(a).map(|(w, a)| w * i32::from(*a)).sum() };

        let signed: [i32; 32] = from_fn(|i| i32::from(w[i] as i8));
        assert_eq!(s.sum_i(s.dot_i8(s.bytes(&w), acts)), sum(&signed, &a));
        let small: [u8; 32] = w.map(|w| w & 63);
        let unsigned = small.map(i32::from);
        assert_eq!(s.sum_i(s.dot_u6(s.bytes(&small), acts)), sum(&unsigned, &a));
        let ready = s.scales(&scales);
        for j in 0..8 {
            let want = sum(&unsigned[..16], &a[..16]) * i32::from(scales[2 * j])
                + sum(&unsigned[16..], &a[16..]) * i32::from(scales[2 * j + 1]);
            assert_eq!(s.sum_i(s.dot_halves(s.bytes(&small), acts, ready, j)), want);
        }

        let (half, _) = w.as_chunks::<16>();
        is(
            s.nibbles(&half[0]),
            from_fn(|i| half[0][i % 16] >> (i / 16 * 4) & 15),
        );
        is(
            s.table(&scales, s.nibbles(&half[1])),
            from_fn(|i| scales[usize::from(half[1][i % 16] >> (i / 16 * 4) & 15)] as u8),
        );
        is(
            s.bits(word),
            from_fn(|i| if word >> i & 1 == 1 { 0xff } else { 0 }),
        );
        let (x, y) = (s.bytes(&w), s.splat_b(word as u8));
        is(s.and(x, y), w.map(|w| w & word as u8));
        is(s.or(x, y), w.map(|w| w | word as u8));
        is(
            s.test(x, y),
            w.map(|w| if w & word as u8 == 0 { 0 } else { 0xff }),
        );
        is(s.shr::<4>(x), w.map(|w| w >> 4));
        is(s.shr::<2>(x), w.map(|w| w >> 2));
        is(s.shl::<4>(x), w.map(|w| w << 4));
        is(s.shl::<2>(x), w.map(|w| w << 2));
        is(s.flip(x, word as u8), w.map(|w| w ^ word as u8));
        let mut stored = [0; 32];
        s.store_b(x, &mut stored);
        assert_eq!(stored, w);
        rows(s, &w, &a, &scales);
        for codes in [Codes::U4, Codes::U6, Codes::I8] {
            products::<S, 1>(s, codes, &w, &a);
            products::<S, 2>(s, codes, &w, &a);
        }
    }
}

/// What the sums of each token start from: the largest, as 32 biased weights have it, among them.
const STARTS: [i32; 4] = [0, -520_192, 77, 520_192];

/// `R` tiles and four tokens, all of the eight steps and each half of them.
fn products<S: Simd, const R: usize>(s: S, codes: Codes, w: &[u8; 32], a: &[i8; 32]) {
    let (mask, flip) = match codes {
        Codes::U4 => (15, 0),
        Codes::U6 => (63, 0),
        Codes::I8 => (255, S::BIAS),
    };
    let weight = |code: u8| match codes {
        Codes::I8 if S::BIAS == 0 => i32::from(code.cast_signed()),
        _ => i32::from(code),
    };
    let steps: [[[u8; 32]; 8]; R] =
        from_fn(|r| from_fn(|j| from_fn(|i| w[(i + 5 * j + 11 * r) % 32] & mask ^ flip)));
    let tokens: [[[i8; 4]; 8]; 4] =
        from_fn(|t| from_fn(|j| from_fn(|i| a[(7 * t + 4 * j + i) % 32])));
    let stored = steps.map(|steps| {
        let mut out = [[0; 32]; 8];
        s.store_codes(&steps.map(|step| s.bytes(&step)), &mut out);
        out
    });
    let check = |got: [[S::F; R]; 4], first: usize, count: usize| {
        for (t, got) in got.into_iter().enumerate() {
            for (r, got) in got.into_iter().enumerate() {
                let mut sums = [0.0; 8];
                s.store(got, &mut sums);
                let want: [f32; 8] = from_fn(|row| {
                    let of_step = |j: usize| -> i32 {
                        (0..4)
                            .map(|i| weight(steps[r][j][4 * row + i]) * i32::from(tokens[t][j][i]))
                            .sum()
                    };
                    ((first..first + count).map(of_step).sum::<i32>() + STARTS[t]) as f32
                });
                assert_eq!(sums, want, "token {t}, tile {r}, steps from {first}");
            }
        }
    };
    check(
        s.products(codes, stored.each_ref(), tokens.each_ref(), STARTS),
        0,
        8,
    );
    for half in 0..2 {
        let w = stored.each_ref().map(|w| &w.as_chunks::<4>().0[half]);
        let a = tokens.each_ref().map(|a| &a.as_chunks::<4>().0[half]);
        check(s.products(codes, w, a, STARTS), 4 * half, 4);
    }
}

/// The operations on eight rows: eight steps of words made of `w`, each with its own four activations.
fn rows<S: Simd>(s: S, w: &[u8; 32], a: &[i8; 32], table: &[i8; 16]) {
    let steps: [[u8; 32]; 8] = from_fn(|j| from_fn(|i| w[(i + 5 * j) % 32]));
    let (a, _) = a.as_chunks::<4>();
    let a: [[i8; 4]; 8] = from_fn(|j| a[j]);
    let sums = |steps: &[[u8; 32]], weight: fn(u8) -> i32| -> [f32; 8] {
        from_fn(|r| {
            let of_row = |(w, a): (&[u8; 32], &[i8; 4])| -> i32 {
                (0..4).map(|i| weight(w[4 * r + i]) * i32::from(a[i])).sum()
            };
            (steps.iter().zip(&a).map(of_row).sum::<i32>() - 24) as f32
        })
    };
    let read = |x: S::F| {
        let mut out = [0.0; 8];
        s.store(x, &mut out);
        out
    };
    let with = |mask: u8| from_fn(|j| s.and(s.bytes(&steps[j]), s.splat_b(mask)));
    let (u4, u6): ([S::B; 8], [S::B; 8]) = (with(15), with(63));
    assert_eq!(
        read(s.to_f(s.rows_u4(&u4, &a, s.start(-3, 8)))),
        sums(&steps, |w| (w & 15).into())
    );
    assert_eq!(
        read(s.to_f(s.rows_u6(&u6, &a, s.start(-3, 8)))),
        sums(&steps, |w| (w & 63).into())
    );
    let biased: [S::B; 8] = from_fn(|j| s.flip(s.bytes(&steps[j]), S::BIAS));
    let want = if S::BIAS == 0 {
        sums(&steps, |w| w.cast_signed().into())
    } else {
        sums(&steps, |w| i32::from(w.cast_signed()) + 128)
    };
    assert_eq!(read(s.to_f(s.rows_i8(&biased, &a, s.start(-3, 8)))), want);
    let half: [[i8; 4]; 4] = from_fn(|j| a[j]);
    let u6: [S::B; 4] = from_fn(|j| u6[j]);
    assert_eq!(
        read(s.to_f(s.rows_u6(&u6, &half, s.start(-3, 8)))),
        sums(&steps[..4], |w| (w & 63).into())
    );

    let words = w.as_chunks::<4>().0;
    let word = |r: usize| u32::from_le_bytes(words[r]);
    for j in 0..8 {
        let mut out = [0; 32];
        s.store_b(s.spread(s.bytes(w), j), &mut out);
        let want = from_fn(|i| {
            if word(i / 4) >> (4 * j + i % 4) & 1 == 1 {
                0xff
            } else {
                0
            }
        });
        assert_eq!(out, want, "spread {j}");
    }
    let n = s.load_n(w);
    for shift in 0..32 {
        assert_eq!(
            read(s.bits_n(n, shift, 63)),
            from_fn(|r| (word(r) >> shift & 63) as f32)
        );
    }
    for i in 0..4 {
        assert_eq!(
            read(s.byte_n(n, i)),
            from_fn(|r| words[r][i as usize].cast_signed().into())
        );
    }
    let halves = s.load_n16(&table.map(i8::cast_unsigned));
    let want = from_fn(|r| {
        let two = [table[2 * r], table[2 * r + 1]].map(i8::cast_unsigned);
        f32::from(u16::from_le_bytes(two) & 0x7fff)
    });
    assert_eq!(read(s.bits_n(halves, 0, 0x7fff)), want);
}

fn extreme() -> impl Strategy<Value = u8> {
    prop_oneof![
        Just(0),
        Just(63),
        Just(127),
        Just(128),
        Just(129),
        Just(255),
        any::<u8>()
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn integers_are_exact(
        w in prop::array::uniform32(extreme()),
        a in prop::array::uniform32(prop_oneof![Just(-127_i8), Just(127), -127..=127_i8]),
        scales in prop::array::uniform16(prop_oneof![Just(-128_i8), Just(127), any::<i8>()]),
        word in any::<u32>(),
    ) {
        for isa in Isa::available() {
            isa.dispatch(Integers { w, a, scales, word });
        }
    }
}

/// Every f16 there is, through each way of reading one.
struct Halves;

impl SimdOp for Halves {
    type Output = ();

    fn eval<S: Simd>(self, s: S) {
        for first in (0..=u16::MAX).step_by(8) {
            let bits: [u16; 8] = from_fn(|i| first + i as u16);
            let mut bytes = [0; 16];
            for (two, bits) in bytes.as_chunks_mut().0.iter_mut().zip(bits) {
                *two = bits.to_le_bytes();
            }
            let (mut out, mut from_bytes) = ([0.0; 8], [0.0; 8]);
            s.store(s.load_f16(&bits), &mut out);
            s.store(s.load_f16_le(&bytes), &mut from_bytes);
            for i in 0..8 {
                let want = half::f16::from_bits(bits[i]).to_f32();
                for out in [out[i], from_bytes[i], s.f16(bits[i])] {
                    assert!(
                        out.to_bits() == want.to_bits() || (out.is_nan() && want.is_nan()),
                        "{:#x}",
                        bits[i]
                    );
                }
            }
        }
    }
}

#[test]
fn every_f16_is_read_exactly() {
    for isa in Isa::available() {
        isa.dispatch(Halves);
    }
}

/// Floats of every exponent and sign, with fractions on both sides of wherever an f16 could be rounded.
struct Narrow;

impl SimdOp for Narrow {
    type Output = ();

    fn eval<S: Simd>(self, s: S) {
        // A tie has a one at bit k with nothing below it; the bit above it decides which way it goes.
        let fractions = (0..23).flat_map(|k| {
            let (tie, odd, all) = (1 << k, 3 << k, 0x7f_ffff << k);
            [tie, tie - 1, tie + 1, odd, odd - 1, odd + 1, all, all + 1]
        });
        for fraction in fractions.map(|f: u32| f & 0x7f_ffff) {
            for first in (0..512_u32).step_by(8) {
                let x: [f32; 8] = from_fn(|i| f32::from_bits((first + i as u32) << 23 | fraction));
                let mut out = [0; 8];
                s.store_f16(s.load(&x), &mut out);
                for i in 0..8 {
                    // Not `from_f32`, which may use the very instruction that is under test.
                    let want = half::f16::from_f32_const(x[i]);
                    assert!(
                        out[i] == want.to_bits()
                            || (want.is_nan() && half::f16::from_bits(out[i]).is_nan()),
                        "{:#x} gives {:#x}, not {:#x}",
                        x[i].to_bits(),
                        out[i],
                        want.to_bits()
                    );
                }
            }
        }
    }
}

#[test]
fn every_f16_is_written_rounded_to_nearest_even() {
    for isa in Isa::available() {
        isa.dispatch(Narrow);
    }
}

#[test]
fn the_largest_sums_are_exact() {
    for isa in Isa::available() {
        for (w, a, scale) in [
            (63, 127, -128),
            (63, -127, -128),
            (128, 127, 127),
            (128, -127, 127),
            (255, -127, 1),
        ] {
            isa.dispatch(Integers {
                w: [w; 32],
                a: [a; 32],
                scales: [scale; 16],
                word: u32::MAX,
            });
        }
    }
}
