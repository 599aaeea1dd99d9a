//! The attention block of a layer: one of the two forms, and the buffers that all layers share.

use super::acts::ActBuffer;
use super::attend::{HEADS, Scratch};
use super::cache::Cache;
use super::config::{Config, Heads};
use super::gqa::GqaWork;
use super::input::Input;
use super::memory::zeros;
use super::mla::{MlaWork, Panels};
use super::step::{Angles, Step};
use super::weights::Attention;
use crate::error::Result;

/// Buffers of the attention blocks of a model, used by one layer after the other.
#[derive(Debug)]
pub(crate) struct AttentionWork {
    blocks: Blocks,
    /// One a worker.
    scratch: Vec<Scratch>,
    context: usize,
}

#[derive(Debug)]
enum Blocks {
    Mla(Box<MlaWork>),
    Gqa(GqaWork),
}

impl AttentionWork {
    pub(crate) fn new(
        config: &Config,
        batch: usize,
        q_lora_rank: usize,
        context: usize,
    ) -> Result<Self> {
        let blocks = match config.heads {
            Heads::Mla(heads) => Blocks::Mla(Box::new(MlaWork::new(&heads, batch, q_lora_rank)?)),
            Heads::Gqa(heads) => Blocks::Gqa(GqaWork::new(&heads, batch)?),
        };
        Ok(Self {
            blocks,
            scratch: Vec::new(),
            context,
        })
    }

    /// Gives each of `workers` its scratch; allocates only when their number grows.
    pub(crate) fn prepare(&mut self, workers: usize, config: &Config) -> Result<()> {
        let width = config.heads.cache_width();
        while self.scratch.len() < workers {
            let panels = match (&self.blocks, config.heads) {
                (Blocks::Mla(work), Heads::Mla(heads)) if work.expands() => Panels::new(&heads)?,
                _ => Panels::default(),
            };
            self.scratch.push(Scratch {
                scores: zeros(&[HEADS, self.context])?,
                query: zeros(&[HEADS, width])?,
                panels,
            });
        }
        Ok(())
    }
}

impl Attention {
    /// `y = attention(h)` for the tokens of this pass, `(tokens, n_embd)`; their rows are appended to `cache`.
    pub(crate) fn forward(
        &self,
        step: Step<'_>,
        h: Input<'_>,
        angles: &Angles,
        cache: &mut Cache,
        work: &mut AttentionWork,
        acts: &mut ActBuffer,
        y: &mut [f32],
    ) {
        let scratch = &mut work.scratch;
        match (self, &mut work.blocks) {
            (Self::Mla(mla), Blocks::Mla(work)) => {
                mla.forward(step, h, angles, cache, work, scratch, acts, y);
            }
            (Self::Gqa(gqa), Blocks::Gqa(work)) => {
                gqa.forward(step, h, angles, cache, work, scratch, acts, y);
            }
            _ => unreachable!("a model has one form of attention, fixed by its config"),
        }
    }
}
