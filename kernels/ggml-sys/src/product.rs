//! A whole product as llama.cpp runs it: a graph of one `ggml_mul_mat`, activations quantised inside, rows and tokens spread over
//! threads, and the weights in whichever layout ggml's CPU backend has for them.
//!
//! The graph costs a few microseconds beyond the kernels; on one thread it is what to hold a kernel against.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "one argument covers the calls that build one thing, and what is read through their results"
)]

use std::ffi::{CStr, c_int, c_void};
use std::ptr::{self, NonNull};

use crate::sys;
use crate::types::Type;

/// How the weights lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Row by row as in the file: `vec_dot`, tinyBLAS or tiles, as ggml chooses.
    File,
    /// Interleaved by the first of ggml's extra buffer types that takes such a matrix (`CPU_REPACK`), as llama.cpp loads them.
    Repacked,
}

/// `out[t][r] = weights[r] . x[t]`, ready to be computed again and again.
#[derive(Debug)]
pub struct Product {
    backend: sys::ggml_backend_t,
    pool: sys::ggml_threadpool_t,
    weights: Allocated,
    values: Allocated,
    graph: *mut sys::ggml_cgraph,
    x: NonNull<f32>,
    out: NonNull<f32>,
    n_x: usize,
    n_out: usize,
    buffer: &'static str,
}

/// Tensors, and the memory behind them.
#[derive(Debug)]
struct Allocated {
    tensors: *mut sys::ggml_context,
    buffer: sys::ggml_backend_buffer_t,
}

impl Product {
    /// `weights` are `rows` rows of `cols` numbers; `None` when ggml does not multiply the type, or has no such layout for the matrix.
    ///
    /// # Panics
    /// If the lengths do not fit, a size is 0 or past what a C int counts, or memory is short.
    pub fn new(
        ty: Type,
        weights: &[u8],
        [rows, cols]: [usize; 2],
        tokens: usize,
        threads: usize,
        layout: Layout,
    ) -> Option<Self> {
        ty.dot_type()?;
        let bytes = ty.row_bytes(cols).and_then(|row| row.checked_mul(rows));
        assert_eq!(
            Some(weights.len()),
            bytes,
            "{ty:?}: bytes of {rows} rows of {cols}"
        );
        let [rows, cols, tokens, threads] = [rows, cols, tokens, threads].map(|n| {
            let n = c_int::try_from(n).unwrap_or(0);
            assert!(n > 0, "sizes are from 1 to {}", c_int::MAX);
            n
        });

        let (w_tensors, x_tensors) = (context(), context());
        // SAFETY: the contexts are fresh and have room for these tensors and the graph (see `context`); the types and sizes
        // are checked above, and a product of `cols x rows` with `cols x tokens` is well-formed.
        let (w, x, out, graph) = unsafe {
            let w = sys::ggml_new_tensor_2d(w_tensors, ty.id(), cols.into(), rows.into());
            let x =
                sys::ggml_new_tensor_2d(x_tensors, sys::GGML_TYPE_F32, cols.into(), tokens.into());
            let out = sys::ggml_mul_mat(x_tensors, w, x);
            let graph = sys::ggml_new_graph(x_tensors);
            sys::ggml_build_forward_expand(graph, out);
            (w, x, out, graph)
        };
        let values = Allocated::new(x_tensors, plain());
        let kind = match layout {
            Layout::File => Some(plain()),
            Layout::Repacked => extra_buffer_types().find(|kind| takes(*kind, w, out)),
        };
        let Some(kind) = kind else {
            // SAFETY: the context is ours and nothing refers to it but `w`, which is not used again.
            unsafe { sys::ggml_free(w_tensors) };
            return None;
        };
        let allocated = Allocated::new(w_tensors, kind);
        // SAFETY: `w` is allocated in a buffer of that type, and `weights` has exactly its bytes; setting repacks.
        unsafe { sys::ggml_backend_tensor_set(w, weights.as_ptr().cast(), 0, weights.len()) };
        // SAFETY: buffer types live as long as the process, and have names.
        let name = unsafe { CStr::from_ptr(sys::ggml_backend_buft_name(kind)) };
        let (backend, pool) = backend(threads);
        // SAFETY: both tensors were allocated in plain memory by `Allocated::new`.
        let (x, out) = unsafe { ((*x).data, (*out).data) };
        let floats = |data: *mut c_void| {
            NonNull::new(data.cast::<f32>())
                .filter(|data| data.is_aligned())
                .expect("ggml aligns tensors")
        };
        Some(Self {
            backend,
            pool,
            weights: allocated,
            values,
            graph,
            x: floats(x),
            out: floats(out),
            n_x: (cols as usize) * (tokens as usize),
            n_out: (rows as usize) * (tokens as usize),
            buffer: name.to_str().unwrap_or("?"),
        })
    }

    /// Sets the activations, `(tokens, cols)`.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn set(&mut self, x: &[f32]) {
        assert_eq!(x.len(), self.n_x, "activations of all tokens");
        // SAFETY: `self.x` points to `n_x` aligned floats of our own buffer, which nothing else refers to during the call.
        let into = unsafe { std::slice::from_raw_parts_mut(self.x.as_ptr(), self.n_x) };
        into.copy_from_slice(x);
    }

    /// Computes the product; what criterion times.
    ///
    /// # Panics
    /// If ggml fails.
    pub fn compute(&mut self) {
        // SAFETY: backend, graph and all its tensors live as long as `self`; `&mut` keeps others away.
        let status = unsafe { sys::ggml_backend_graph_compute(self.backend, self.graph) };
        assert_eq!(
            status,
            sys::GGML_STATUS_SUCCESS,
            "ggml_backend_graph_compute"
        );
    }

    /// What the last [`Product::compute`] gave, `(tokens, rows)`.
    pub fn out(&self) -> &[f32] {
        // SAFETY: `self.out` points to `n_out` aligned floats of our own buffer, zero or computed, written only under `&mut`.
        unsafe { std::slice::from_raw_parts(self.out.as_ptr(), self.n_out) }
    }

    /// ggml's name for where the weights lie: `CPU`, `CPU_REPACK`.
    pub fn buffer(&self) -> &'static str {
        self.buffer
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // SAFETY: ours, and dropped once; the backend before its threads.
        unsafe { sys::ggml_backend_free(self.backend) };
        // SAFETY: as above.
        unsafe { sys::ggml_threadpool_free(self.pool) };
        for part in [&self.weights, &self.values] {
            // SAFETY: as above, and no tensor is used again.
            unsafe { sys::ggml_backend_buffer_free(part.buffer) };
            // SAFETY: as above.
            unsafe { sys::ggml_free(part.tensors) };
        }
    }
}

impl Allocated {
    /// Memory of that kind for all tensors of the context.
    fn new(tensors: *mut sys::ggml_context, kind: sys::ggml_backend_buffer_type_t) -> Self {
        // SAFETY: a live context whose tensors have no memory yet, and a buffer type that lives for ever.
        let buffer = unsafe { sys::ggml_backend_alloc_ctx_tensors_from_buft(tensors, kind) };
        assert!(!buffer.is_null(), "no memory for ggml's tensors");
        Self { tensors, buffer }
    }
}

/// A context for up to four tensors and a graph, without memory for their values.
fn context() -> *mut sys::ggml_context {
    // SAFETY: constants of ggml.
    let (tensor, graph) = unsafe { (sys::ggml_tensor_overhead(), sys::ggml_graph_overhead()) };
    let params = sys::ggml_init_params {
        mem_size: 4 * tensor + graph,
        mem_buffer: ptr::null_mut(),
        no_alloc: true,
    };
    // SAFETY: ggml allocates the memory itself, as `mem_buffer` is null.
    let made = unsafe { sys::ggml_init(params) };
    assert!(!made.is_null(), "ggml_init");
    made
}

/// The CPU with a pool of its own: without one ggml would start threads for every graph.
fn backend(threads: c_int) -> (sys::ggml_backend_t, sys::ggml_threadpool_t) {
    // SAFETY: no conditions.
    let backend = unsafe { sys::ggml_backend_cpu_init() };
    assert!(!backend.is_null(), "ggml_backend_cpu_init");
    // SAFETY: plain values in, a plain value out.
    let mut params = unsafe { sys::ggml_threadpool_params_default(threads) };
    // SAFETY: the parameters are only read.
    let pool = unsafe { sys::ggml_threadpool_new(&raw mut params) };
    assert!(!pool.is_null(), "ggml_threadpool_new");
    // SAFETY: a live CPU backend.
    unsafe { sys::ggml_backend_cpu_set_n_threads(backend, threads) };
    // SAFETY: both are live, and the pool is freed after the backend.
    unsafe { sys::ggml_backend_cpu_set_threadpool(backend, pool) };
    (backend, pool)
}

/// Ordinary memory.
fn plain() -> sys::ggml_backend_buffer_type_t {
    // SAFETY: no conditions; a static.
    unsafe { sys::ggml_backend_cpu_buffer_type() }
}

/// The CPU as ggml's device.
fn device() -> sys::ggml_backend_dev_t {
    // SAFETY: no conditions; a static.
    let reg = unsafe { sys::ggml_backend_cpu_reg() };
    // SAFETY: the CPU has one device, number 0.
    unsafe { sys::ggml_backend_reg_dev_get(reg, 0) }
}

/// The buffer types that store weights otherwise, best first, by the door that llama.cpp uses.
fn extra_buffer_types() -> impl Iterator<Item = sys::ggml_backend_buffer_type_t> {
    // SAFETY: no conditions; a static.
    let reg = unsafe { sys::ggml_backend_cpu_reg() };
    let name = c"ggml_backend_dev_get_extra_bufts";
    // SAFETY: a live registry and a C string.
    let door = unsafe { sys::ggml_backend_reg_get_proc_address(reg, name.as_ptr()) };
    // SAFETY: ggml-backend.h says that the function of this name has this type; null becomes `None`.
    let door: sys::ggml_backend_dev_get_extra_bufts_t = unsafe { std::mem::transmute(door) };
    // SAFETY: the device is live.
    let list = door.map_or(ptr::null_mut(), |door| unsafe { door(device()) });
    (0..).map_while(move |i| {
        if list.is_null() {
            return None;
        }
        // SAFETY: the list is static and ends with null, at which this iterator stops.
        let kind = unsafe { *list.add(i) };
        (!kind.is_null()).then_some(kind)
    })
}

/// Whether the CPU computes `out` with `w` stored so: asked as llama.cpp asks, with an empty buffer of that type.
fn takes(
    kind: sys::ggml_backend_buffer_type_t,
    w: *mut sys::ggml_tensor,
    out: *mut sys::ggml_tensor,
) -> bool {
    // SAFETY: a live buffer type.
    let empty = unsafe { sys::ggml_backend_buft_alloc_buffer(kind, 0) };
    // SAFETY: `w` is a live tensor of ours without memory.
    unsafe { (*w).buffer = empty };
    // SAFETY: `out` is a live operation of ours; only its sources' types, shapes and buffers are read.
    let yes = unsafe { sys::ggml_backend_dev_supports_op(device(), out) };
    // SAFETY: as above; the tensor must not keep a buffer that is freed.
    unsafe { (*w).buffer = ptr::null_mut() };
    // SAFETY: ours, freed once.
    unsafe { sys::ggml_backend_buffer_free(empty) };
    yes
}

#[cfg(test)]
mod tests {
    use super::{Layout, Product};
    use crate::{Type, quantize, quantize_acts, vec_dot};

    #[test]
    fn both_layouts_and_two_threads_agree_with_vec_dot() {
        let (rows, cols, tokens) = (64, 512, 9);
        let w: Vec<f32> = (0..rows * cols).map(|i| (i as f32 * 0.37).sin()).collect();
        let x: Vec<f32> = (0..tokens * cols)
            .map(|i| (i as f32 * 0.41).cos())
            .collect();
        let mut repacked = 0;
        for id in [2, 8, 12, 14, 20] {
            let ty = Type::from_id(id).expect("a common type");
            let row = ty.row_bytes(cols).expect("whole blocks");
            let mut weights = vec![0; rows * row];
            quantize(ty, &w, cols, None, &mut weights);
            let to = ty.dot_type().expect("multiplies");
            let mut want = Vec::new();
            for x in x.chunks(cols) {
                let mut acts = vec![0; to.row_bytes(cols).expect("whole blocks")];
                quantize_acts(ty, x, &mut acts);
                want.extend(weights.chunks(row).map(|row| vec_dot(ty, cols, row, &acts)));
            }
            for layout in [Layout::File, Layout::Repacked] {
                for threads in [1, 2] {
                    let made = Product::new(ty, &weights, [rows, cols], tokens, threads, layout);
                    let Some(mut product) = made else {
                        assert_eq!(
                            layout,
                            Layout::Repacked,
                            "{ty:?}: every layout but this there is"
                        );
                        continue;
                    };
                    product.set(&x);
                    product.compute();
                    repacked += usize::from(product.buffer() != "CPU");
                    for (got, want) in product.out().iter().zip(&want) {
                        let error = (got - want).abs();
                        assert!(
                            error < 0.05,
                            "{ty:?} in {}: {got}, not {want}",
                            product.buffer()
                        );
                    }
                }
            }
        }
        // Q4_0 has a repacked form on every CPU with AVX2 or dotprod.
        #[cfg(target_arch = "x86_64")]
        assert!(
            repacked > 0 || !std::arch::is_x86_feature_detected!("avx2"),
            "nothing was repacked"
        );
        #[cfg(not(target_arch = "x86_64"))]
        println!("{repacked} products were repacked");
    }
}
