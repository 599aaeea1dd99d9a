//! The bytes of the tensors: random blocks, fast.
//!
//! To encode billions of weights takes an hour, and to write them half a minute. So a few are encoded, and written many times:
//!
//! ```text
//! 131072 normal weights -> encode -> 4096 units (512 of the K types) -> a unit drawn anew for every place of the tensor
//! ```
//!
//! A unit is one block, at least 32 weights. Every type and every deviation has its own pool of units. Each place draws one
//! independently, so two rows agree in one block of a few hundred or thousand, and dot products are those of rows that have nothing in
//! common. What suffers is compression and perplexity, neither of which says anything here.
//!
//! Numbers of a tile come from a generator of its own, so the bytes depend on the seed, and not on the threads. The normal numbers are sums
//! of twelve uniform ones (variance 12/12, within 6 deviations): integers until the end, therefore the same on every machine.

use core::ops::ControlFlow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use wattle_kernels::{Format, encode};

use super::tensors::Draw;
use crate::gguf::{Body, GgmlType};
use crate::pool::Pool;
use crate::sample::Pcg32;

/// Weights of a pool, unless the tensor has fewer; a power of two.
const POOL: usize = 1 << 17;
/// Least weights of a unit.
const UNIT: usize = 32;
/// Bytes that one thread draws for, about.
const TILE: usize = 1 << 16;
/// Tiles that are written at once.
const SLAB: usize = 64;
/// The streams of the generators: of the pools from here on, of tensor `t` from `t << TENSOR` on.
const POOLS: u64 = 1 << 62;
const TENSOR: u32 = 32;

/// What a tensor is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    /// Its place in the file, from 0.
    pub(super) number: u64,
    pub(super) ty: GgmlType,
    /// Weights in all.
    pub(super) weights: u64,
    pub(super) draw: Draw,
}

/// Writes tensors one after another, with the same memory.
#[derive(Debug)]
pub(super) struct Filler<'a> {
    pool: &'a Pool,
    seed: u64,
    units: BTreeMap<Key, Units>,
    slab: Vec<u8>,
}

/// What has a pool of its own: type, mean and deviation (as bits), and number of units.
type Key = (GgmlType, u32, u32, usize);

/// Encoded weights to draw from.
#[derive(Debug)]
struct Units {
    bytes: Vec<u8>,
    /// Bytes of one.
    each: usize,
}

impl<'a> Filler<'a> {
    pub(super) fn new(pool: &'a Pool, seed: u64) -> Self {
        Self {
            pool,
            seed,
            units: BTreeMap::new(),
            slab: Vec::new(),
        }
    }

    /// Writes a tensor to `body`. After each slab `go_on` is told its bytes; `Break` when it says no.
    pub(super) fn write<W: Write>(
        &mut self,
        job: Job,
        body: &mut Body<W>,
        go_on: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        let format = Format::from_ggml(job.ty.id())
            .ok_or_else(|| io::Error::other(format!("{} cannot be encoded", job.ty)))?;
        let (pool, seed) = (self.pool, self.seed);
        let made = self.units.len() as u64;
        let units = self.units.entry(key(format, &job)).or_insert_with(|| {
            let mut rng = Pcg32::on_stream(seed, POOLS + made);
            Units::new(pool, &mut rng, format, &job)
        });
        let tile = (TILE / units.each).max(1) * units.each;
        let mut left = job.weights / format.block() as u64 * format.block_bytes() as u64;
        let mut first = job.number << TENSOR;
        while left > 0 {
            let size = left.min((SLAB * tile) as u64);
            // At most the bytes of a slab.
            self.slab.resize(size as usize, 0);
            pool.chunks(&mut self.slab, tile, |i, out| {
                units.fill(&mut Pcg32::on_stream(seed, first + i as u64), out);
            });
            body.write(&self.slab)?;
            if go_on(size).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            (left, first) = (left - size, first + SLAB as u64);
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn key(format: Format, job: &Job) -> Key {
    let Draw { mean, deviation } = job.draw;
    let unit = format.block().max(UNIT);
    let most = (POOL / unit) as u64;
    let units = job.weights.div_ceil(unit as u64).next_power_of_two();
    // At most those of a pool.
    let units = units.min(most) as usize;
    (job.ty, mean.to_bits(), deviation.to_bits(), units)
}

impl Units {
    fn new(pool: &Pool, rng: &mut Pcg32, format: Format, job: &Job) -> Self {
        let (.., count) = key(format, job);
        let unit = format.block().max(UNIT);
        let Draw { mean, deviation } = job.draw;
        let weights: Vec<f32> = (0..count * unit)
            .map(|_| mean + deviation * normal(rng))
            .collect();
        let each = unit / format.block() * format.block_bytes();
        let mut bytes = vec![0; count * each];
        pool.chunks(&mut bytes, each, |i, out| {
            encode(format, &weights[i * unit..][..unit], None, out);
        });
        Self { bytes, each }
    }

    /// Fills `out` with units that `rng` draws; the last may be cut.
    fn fill(&self, rng: &mut Pcg32, out: &mut [u8]) {
        let mask = self.bytes.len() / self.each - 1;
        for place in out.chunks_mut(self.each) {
            let unit = rng.next_u32() as usize & mask;
            place.copy_from_slice(&self.bytes[unit * self.each..][..place.len()]);
        }
    }
}

/// A normal number: mean 0, deviation 1.
fn normal(rng: &mut Pcg32) -> f32 {
    let twelve: u32 = (0..6)
        .map(|_| rng.next_u32())
        .map(|two| (two >> 16) + (two & 0xffff))
        .sum();
    // Both are whole numbers below 2^24, so they and their difference are exact.
    (twelve as f32 - 12.0 * 32767.5) / 65536.0
}

#[cfg(test)]
mod tests {
    use wattle_kernels::decode;

    use super::*;
    use crate::gguf::{Gguf, Writer};

    /// The bytes of one tensor.
    fn tensor(ty: GgmlType, dims: [u64; 2], seed: u64, threads: usize, draw: Draw) -> Vec<u8> {
        let mut head = Writer::new();
        head.tensor("a", &dims, ty).expect("a tensor");
        let mut body = head.start(Vec::new()).expect("in memory");
        let pool = Pool::start(threads, None).expect("threads");
        let job = Job {
            number: 3,
            ty,
            weights: dims.iter().product(),
            draw,
        };
        let mut told = 0;
        let done = Filler::new(&pool, seed).write(job, &mut body, &mut |bytes| {
            told += bytes;
            ControlFlow::Continue(())
        });
        assert_eq!(done.expect("in memory"), ControlFlow::Continue(()));
        let bytes = body.finish().expect("the whole tensor");
        let file = Gguf::from_bytes("one".as_ref(), bytes).expect("a sound file");
        let bytes = file.bytes(&file.tensors()[0]).to_vec();
        assert_eq!(told, bytes.len() as u64, "bytes that go_on heard of");
        bytes
    }

    const DRAW: Draw = Draw {
        mean: 0.0,
        deviation: 0.05,
    };

    #[test]
    fn every_type_has_the_weights_that_were_asked_for() {
        for &format in Format::ALL {
            let ty = GgmlType::from_id(format.ggml_id()).expect("a type");
            let bytes = tensor(ty, [512, 200], 7, 2, DRAW);
            let mut weights = vec![0.0; 512 * 200];
            decode(format, &bytes, &mut weights);
            let mean = |f: &dyn Fn(f64) -> f64| {
                let sum: f64 = weights.iter().map(|&x| f(f64::from(x))).sum();
                sum / weights.len() as f64
            };
            // 102400 weights, though of a pool: the mean is within 5 of its standard errors, the deviation within 10 %.
            let error = 0.05 / (weights.len() as f64 / 2.0).sqrt();
            assert!(
                mean(&|x| x).abs() < 5.0 * error,
                "{ty}: mean {}",
                mean(&|x| x)
            );
            let deviation = mean(&|x| x * x).sqrt();
            assert!(
                (deviation - 0.05).abs() < 0.005,
                "{ty}: deviation {deviation}"
            );
            // Rows have nothing in common.
            let (a, b) = (&weights[..512], &weights[512..1024]);
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
            assert!(cosine.abs() < 0.25, "{ty}: rows at cosine {cosine}");
        }
    }

    #[test]
    fn the_bytes_follow_from_the_seed_alone() {
        // More than one slab.
        let bytes = |seed, threads| tensor(GgmlType::Q8_0, [1024, 4200], seed, threads, DRAW);
        let one = bytes(1, 1);
        assert!(one == bytes(1, 3), "threads change the bytes");
        assert!(one != bytes(2, 1), "the seed changes nothing");
        let (first, second) = one.split_at(one.len() / 2);
        assert!(first != second, "the bytes repeat");
    }

    #[test]
    fn a_tensor_that_is_no_whole_unit_is_filled() {
        let norm = Draw {
            mean: 1.0,
            deviation: 0.0,
        };
        let bytes = tensor(GgmlType::F32, [17, 1], 0, 1, norm);
        assert_eq!(bytes, 1_f32.to_le_bytes().repeat(17));
    }
}
