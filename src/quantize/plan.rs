//! What becomes of each tensor, decided before the first byte is written.
//!
//! In this order, as llama.cpp decides (`llama_tensor_get_type` in `src/llama-quant.cpp`):
//! 1. what [`is_kept`] names keeps its type;
//! 2. `--token-embedding-type` and `--output-tensor-type` decide for the two tensors at the ends;
//! 3. F32, F16 and BF16 take everything else;
//! 4. the first `--tensor-type` pattern found in the name decides;
//! 5. the rules of the mix do, unless only its base is wanted (`--pure`);
//! 6. a row that is no whole number of blocks gets the nearest type whose blocks fit, at last F16.
//!
//! Layers are counted as llama.cpp counts them: tensors by layer, then by name; `attn_v` by how many came before, `ffn_down` by the
//! layer in its name where there are experts. llama.cpp's special rules for Falcon are left out.

use super::keep::is_kept;
use super::mix::{At, Role};
use super::{Options, guide, is_readable};
use crate::error::{Error, Place, Result};
use crate::gguf::{GgmlType, Gguf, Metadata, TensorInfo, Value};

/// What becomes of one tensor.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Step {
    /// Its name.
    pub name: String,
    /// The type it has.
    pub from: GgmlType,
    /// The type it gets; the same when it is copied.
    pub to: GgmlType,
    /// The type that the rules chose, when the rows do not fit its blocks.
    pub unfit: Option<GgmlType>,
    /// Bytes it will have.
    pub bytes: u64,
}

/// What becomes of every tensor of `model`, in the order of [`Gguf::tensors`].
///
/// # Errors
///
/// A tensor that has to be converted is quantised already and `options` do not allow that, or is of a type that cannot be
/// read; the importance matrix is of another model; or a key that the rules need is broken.
pub fn plan(model: &Gguf, options: &Options) -> Result<Vec<Step>> {
    let tensors = model.tensors();
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|&i| (layer(&tensors[i].name), tensors[i].name.as_str()));
    let mut rules = Rules::of(model, options)?;
    let mut steps: Vec<Option<Step>> = vec![None; tensors.len()];
    for i in order {
        let tensor = &tensors[i];
        let wanted = rules.choose(tensor);
        let to = fitting(wanted, tensor);
        if to != tensor.ty {
            convertible(model, tensor, options)?;
        }
        let blocks = tensor.elements() / to.block() as u64;
        steps[i] = Some(Step {
            name: tensor.name.clone(),
            from: tensor.ty,
            to,
            unfit: (to != wanted).then_some(wanted),
            bytes: blocks * to.block_bytes() as u64,
        });
    }
    let steps: Vec<Step> = steps.into_iter().flatten().collect();
    guide::check(model, &steps, options)?;
    Ok(steps)
}

/// Refuses a tensor that cannot or should not be converted.
fn convertible(model: &Gguf, tensor: &TensorInfo, options: &Options) -> Result<()> {
    let fault = |expected: &str, found: String, hint: &str| {
        let path = model.metadata_of(tensor.shard()).path();
        let place = Place::Tensor(tensor.name.clone());
        Err(Error::file(path, place, expected, found).advise(hint))
    };
    if !is_readable(tensor.ty) {
        let found = format!("{}, which this program cannot decode", tensor.ty);
        return fault(
            "weights of a type that can be converted",
            found,
            "take another file of the model, best the one in F16 or BF16",
        );
    }
    if tensor.ty.block() > 1 && !options.allow_requantize {
        let found = format!("{}, which is quantised already", tensor.ty);
        return fault(
            "F32, F16 or BF16",
            found,
            "take the F16 or BF16 file of the model, or --allow-requantize and lose quality",
        );
    }
    Ok(())
}

/// The number in `blk.N.`, -1 for tensors of no layer.
pub(super) fn layer(name: &str) -> i64 {
    let number = name
        .strip_prefix("blk.")
        .and_then(|rest| rest.split('.').next());
    let number = number.and_then(|n| n.parse::<u32>().ok());
    number.map_or(-1, i64::from)
}

/// `wanted`, or what llama.cpp takes in its place when the rows of `tensor` are no whole number of its blocks.
fn fitting(wanted: GgmlType, tensor: &TensorInfo) -> GgmlType {
    use GgmlType as T;
    let fits = |ty: GgmlType| tensor.dims[0].is_multiple_of(ty.block() as u64);
    if fits(wanted) {
        return wanted;
    }
    let smaller = match wanted {
        T::Q2_K | T::Q3_K => T::Q4_0,
        T::IQ4_XS => T::IQ4_NL,
        T::Q4_K => T::Q5_0,
        T::Q5_K => T::Q5_1,
        T::Q6_K => T::Q8_0,
        other => other,
    };
    if fits(smaller) { smaller } else { T::F16 }
}

/// The rules for one model, and how far the counting of its layers is.
struct Rules<'a> {
    options: &'a Options,
    architecture: &'a str,
    /// `block_count`, with the layers that predict further tokens.
    layers: usize,
    gqa: u64,
    experts: u64,
    /// Llama 2 70B and its like, whose values are few: they get more bits.
    is_70b: bool,
    /// No `output.weight`, so the embeddings serve for it.
    tied: bool,
    /// Tensors of [`Role::Value`], and how many have been decided.
    values: usize,
    value: usize,
    /// Tensors of [`Role::Down`] that have been decided.
    down: usize,
}

impl<'a> Rules<'a> {
    fn of(model: &'a Gguf, options: &'a Options) -> Result<Self> {
        let metadata = model.metadata();
        let architecture = metadata.str("general.architecture")?.unwrap_or_default();
        let key = |name: &str| format!("{architecture}.{name}");
        let layers = metadata.u64(&key("block_count"))?.unwrap_or_default();
        let heads = first(metadata, &key("attention.head_count")).unwrap_or_default();
        let key_heads = first(metadata, &key("attention.head_count_kv")).unwrap_or(heads);
        let roles = model.tensors().iter().map(|tensor| Role::of(&tensor.name));
        Ok(Self {
            options,
            architecture,
            layers: usize::try_from(layers).unwrap_or(usize::MAX),
            gqa: heads.checked_div(key_heads).unwrap_or_default(),
            experts: metadata.u64(&key("expert_count"))?.unwrap_or_default(),
            is_70b: match architecture {
                "llama" => layers == 80 && heads != key_heads,
                "deci" | "olmo" | "qwen2" => layers == 80,
                "jais2" => layers == 68,
                _ => false,
            },
            tied: roles.clone().all(|role| role != Role::Output),
            values: roles.filter(|role| *role == Role::Value).count(),
            value: 0,
            down: 0,
        })
    }

    /// The type that `tensor` should have, before its shape is looked at.
    fn choose(&mut self, tensor: &TensorInfo) -> GgmlType {
        let options = self.options;
        let role = Role::of(&tensor.name);
        let left = role == Role::Output && options.leave_output;
        if left || is_kept(tensor, self.architecture) {
            return tensor.ty;
        }
        let named = || {
            options
                .tensor_types
                .iter()
                .find(|one| one.is_for(&tensor.name))
        };
        // The second table of embeddings is large, so a pattern may name it apart.
        let apart = tensor.name == "per_layer_token_embd.weight" && named().is_some();
        let end = match role {
            Role::Embedding if !apart => options.embedding_type,
            Role::Output => options.output_type,
            _ => None,
        };
        if let Some(end) = end {
            return end;
        }
        let base = options.mix.base;
        match named() {
            _ if base.block() == 1 => base,
            Some(one) => one.ty,
            None if options.pure => base,
            None => self.by_mix(tensor, role),
        }
    }

    /// The type that the mix gives a tensor of this role, and a step further in the counting of layers.
    fn by_mix(&mut self, tensor: &TensorInfo, role: Role) -> GgmlType {
        use GgmlType as T;
        let mix = self.options.mix;
        let name = tensor.name.as_str();
        let glm = ["attn_q_a", "attn_q_b", "nextn.eh_proj"];
        if self.architecture == "glm5-next" && glm.iter().any(|part| name.contains(part)) {
            return T::Q8_0;
        }
        if role == Role::Output || (self.tied && role == Role::Embedding) {
            let whole = tensor.dims[0].is_multiple_of(mix.base.block() as u64);
            return match self.options.output_type {
                Some(given) => given,
                None if mix.flat.is_some() || !whole || mix.base == T::Q8_0 => T::Q8_0,
                None => T::Q6_K,
            };
        }
        if let Some(flat) = mix.flat {
            // Projections of latent attention are stacks too; only here they are told from experts by name.
            let stack = tensor.dims[2] > 1;
            let expert = matches!(role, Role::Wide | Role::Down);
            let is_base = stack && (self.architecture != "bailingmoe3" || expert);
            return if is_base { mix.base } else { flat };
        }
        let (layer, layers) = match role {
            Role::Value => (self.value, self.values),
            Role::Down => (self.down_layer(name), self.layers),
            _ => (0, 0),
        };
        let at = At {
            layer,
            layers,
            gqa: self.gqa,
            experts: self.experts,
            imatrix: self.options.imatrix.is_some(),
        };
        let mut rules = mix.rules.iter();
        let rule = rules.find(|rule| rule.role == role && (rule.when)(&at));
        let mut ty = rule.map_or(mix.base, |rule| rule.to);
        match role {
            Role::Value => {
                self.value += 1;
                if self.is_70b && matches!(ty, T::Q3_K | T::Q4_K) {
                    ty = T::Q5_K;
                }
            }
            Role::Down => self.down += 1,
            _ => {}
        }
        if at.eight_experts() && matches!(role, Role::Value | Role::Key) {
            ty = T::Q8_0;
        }
        ty
    }

    /// The layer of an `ffn_down`. With experts some layers have several, so the name tells.
    fn down_layer(&self, name: &str) -> usize {
        let told = usize::try_from(layer(name)).ok();
        let told = told.filter(|&layer| self.experts > 1 && layer < self.layers);
        told.unwrap_or(self.down)
    }
}

/// A number that may be given per layer: that of the first.
fn first(metadata: &Metadata, key: &str) -> Option<u64> {
    let number = |value: &Value| value.integer().and_then(|n| u64::try_from(n).ok());
    match metadata.get(key)? {
        Value::Array(array) => array.iter().next().as_ref().and_then(number),
        value => number(value),
    }
}
