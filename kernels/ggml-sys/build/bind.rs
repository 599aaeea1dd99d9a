//! Binds what wrapper.h includes, as far as the safe half of the crate calls it.

use std::env;
use std::path::PathBuf;

use crate::Result;
use crate::source::Source;

/// The functions that `src` calls; bindgen adds the types that they name.
const FUNCTIONS: &[&str] = &[
    "ggml_backend_alloc_ctx_tensors_from_buft",
    "ggml_backend_buffer_free",
    "ggml_backend_buft_alloc_buffer",
    "ggml_backend_buft_name",
    "ggml_backend_cpu_buffer_type",
    "ggml_backend_cpu_init",
    "ggml_backend_cpu_reg",
    "ggml_backend_cpu_set_n_threads",
    "ggml_backend_cpu_set_threadpool",
    "ggml_backend_dev_supports_op",
    "ggml_backend_free",
    "ggml_backend_graph_compute",
    "ggml_backend_reg_dev_get",
    "ggml_backend_reg_get_proc_address",
    "ggml_backend_tensor_set",
    "ggml_build_forward_expand",
    "ggml_cpu_init",
    "ggml_free",
    "ggml_get_type_traits",
    "ggml_get_type_traits_cpu",
    "ggml_init",
    "ggml_log_set",
    "ggml_mul_mat",
    "ggml_graph_overhead",
    "ggml_new_graph",
    "ggml_new_tensor_2d",
    "ggml_quantize_chunk",
    "ggml_quantize_requires_imatrix",
    "ggml_tensor_overhead",
    "ggml_threadpool_free",
    "ggml_threadpool_new",
    "ggml_threadpool_params_default",
];

/// Writes `OUT_DIR/bindings.rs`.
pub(crate) fn bind(source: &Source) -> Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("bindings.rs");
    let include = source.folder.join("include");
    let functions = FUNCTIONS.iter().fold(bindgen::builder(), |all, name| {
        all.allowlist_function(format!("^{name}$"))
    });
    functions
        .header("wrapper.h")
        .clang_arg(format!("-I{}", include.display()))
        .allowlist_type("ggml_backend_dev_get_extra_bufts_t")
        .allowlist_var("GGML_TYPE_COUNT")
        .prepend_enum_name(false)
        .layout_tests(false)
        .merge_extern_blocks(true)
        .generate()
        .map_err(|e| {
            format!("bindgen: {e} (it needs libclang: on Debian, apt install libclang-dev)")
        })?
        .write_to_file(&out)
        .map_err(|e| format!("{}: {e}", out.display()))
}
