//! The attention block of a layer: one of the two forms, and the buffers that all layers share.

use super::acts::ActBuffer;
use super::attend::Attending;
use super::cache::Layout;
use super::config::{Config, Heads};
use super::gqa::GqaWork;
use super::input::Input;
use super::mla::{MlaWork, Panels, mixed};
use super::sequence::LayerCaches;
use super::step::{Angles, Step};
use super::weights::Attention;
use crate::error::Result;

/// Buffers of the attention blocks of a model, used by one layer after the other.
#[derive(Debug)]
pub(crate) struct AttentionWork {
    blocks: Blocks,
    attending: Attending,
}

#[derive(Debug)]
enum Blocks {
    Mla(Box<MlaWork>),
    Gqa(GqaWork),
}

impl AttentionWork {
    pub(crate) fn new(
        config: &Config,
        layout: Layout,
        batch: usize,
        q_lora_rank: usize,
        context: usize,
    ) -> Result<Self> {
        let (v, streams, heads) = match config.heads {
            Heads::Mla(heads) => (mixed(&heads, layout), 1, heads.heads),
            Heads::Gqa(heads) => (heads.v, heads.kv_heads, heads.heads),
        };
        let blocks = match config.heads {
            Heads::Mla(heads) => {
                let work = MlaWork::new(&heads, config, layout, batch, q_lora_rank, context)?;
                Blocks::Mla(Box::new(work))
            }
            Heads::Gqa(heads) => Blocks::Gqa(GqaWork::new(&heads, batch)?),
        };
        Ok(Self {
            blocks,
            attending: Attending::new(v, streams, heads, batch)?,
        })
    }

    /// Gives each of `workers` its scratch; allocates only when their number grows.
    pub(crate) fn prepare(&mut self, workers: usize, config: &Config) -> Result<()> {
        let Self { blocks, attending } = self;
        attending.prepare(workers, || match (&*blocks, config.heads) {
            (Blocks::Mla(work), Heads::Mla(heads)) if work.expands() => Panels::new(&heads),
            _ => Ok(Panels::default()),
        })
    }
}

impl Attention {
    /// `y = attention(h)` for the tokens of this pass, `(tokens, n_embd)`; their rows are appended to `caches`.
    pub(crate) fn forward(
        &self,
        step: Step<'_>,
        h: Input<'_>,
        angles: &Angles,
        caches: LayerCaches<'_>,
        work: &mut AttentionWork,
        acts: &mut ActBuffer,
        y: &mut [f32],
    ) {
        let attending = &mut work.attending;
        match (self, &mut work.blocks) {
            (Self::Mla(mla), Blocks::Mla(work)) => {
                mla.forward(step, h, angles, caches, work, attending, acts, y);
            }
            (Self::Gqa(gqa), Blocks::Gqa(work)) => {
                gqa.forward(step, h, angles, caches, work, attending, acts, y);
            }
            _ => unreachable!("a model has one form of attention, fixed by its config"),
        }
    }
}
