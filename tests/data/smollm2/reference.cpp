// Writes the logits that llama.cpp computes after every token, as raw f32 [tokens][vocabulary], to stdout.
// usage: reference MODEL "1,2,3" exact|default
//   exact    f32 cache, no flash attention, weights as the file holds them: the least rounding llama.cpp offers
//   default  what its programs do unasked: f16 cache, flash attention, repacked weights
#include "llama.h"

#include <cstdio>
#include <cstring>
#include <sstream>
#include <vector>

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    const bool exact = strcmp(argv[3], "exact") == 0;
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_backend_init();

    llama_model_params mp = llama_model_default_params();
    if (exact) mp.use_extra_bufts = false;
    llama_model *model = llama_model_load_from_file(argv[1], mp);
    if (!model) return 3;

    std::vector<llama_token> tokens;
    std::stringstream ids(argv[2]);
    for (std::string id; std::getline(ids, id, ',');) tokens.push_back(std::stoi(id));

    llama_context_params cp = llama_context_default_params();
    cp.n_ctx = cp.n_batch = 2048;
    cp.n_threads = cp.n_threads_batch = 1; // the results are the same with more
    if (exact) {
        cp.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
        cp.type_k = cp.type_v = GGML_TYPE_F32;
    }
    llama_context *ctx = llama_init_from_model(model, cp);
    if (!ctx) return 4;

    llama_batch batch = llama_batch_init(tokens.size(), 0, 1);
    batch.n_tokens = tokens.size();
    for (size_t i = 0; i < tokens.size(); i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = true;
    }
    if (llama_decode(ctx, batch)) return 5;
    const size_t vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (size_t i = 0; i < tokens.size(); i++) {
        if (fwrite(llama_get_logits_ith(ctx, i), sizeof(float), vocab, stdout) != vocab) return 6;
    }
}
