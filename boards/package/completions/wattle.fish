# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_wattle_global_optspecs
    string join \n V/version h/help
end

function __fish_wattle_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_wattle_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_wattle_using_subcommand
    set -l cmd (__fish_wattle_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c wattle -n "__fish_wattle_needs_command" -s V -l version -d 'Print the version and the instruction set in use'
complete -c wattle -n "__fish_wattle_needs_command" -s h -l help -d 'Print help'
complete -c wattle -n "__fish_wattle_needs_command" -f -a "run" -d 'Continue a text, or chat with the model'
complete -c wattle -n "__fish_wattle_needs_command" -f -a "bench" -d 'Measure how fast a model runs, as llama-bench does'
complete -c wattle -n "__fish_wattle_needs_command" -f -a "power" -d 'Show what this machine draws, how hot it is, and whether it is throttled'
complete -c wattle -n "__fish_wattle_needs_command" -f -a "score" -d 'Say how probable a text is, token by token'
complete -c wattle -n "__fish_wattle_needs_command" -f -a "perplexity" -d 'Measure how well a model predicts a text, and how far it is from another model'
complete -c wattle -n "__fish_wattle_needs_command" -f -a "imatrix" -d 'Learn from a text which columns of a model matter, for quantize'
complete -c wattle -n "__fish_wattle_needs_command" -f -a "inspect" -d 'Show what a model file holds and needs'
complete -c wattle -n "__fish_wattle_needs_command" -f -a "tokenize" -d 'Text to token ids, or ids to text'
complete -c wattle -n "__fish_wattle_needs_command" -f -a "quantize" -d 'Make a model file smaller: fewer bits a weight'
complete -c wattle -n "__fish_wattle_needs_command" -f -a "synth" -d 'Write random weights in the shape of a real model, to measure speed with'
complete -c wattle -n "__fish_wattle_needs_command" -f -a "boards" -d 'Say which boards are known, and which this one is'
complete -c wattle -n "__fish_wattle_needs_command" -f -a "doctor" -d 'Check this machine: kernels, cores, memory, storage, throttling, sensors, and what runs on it'
complete -c wattle -n "__fish_wattle_needs_command" -f -a "tune" -d 'Find the threads, cores and clocks that run a model fastest, or on the fewest joules'
complete -c wattle -n "__fish_wattle_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c wattle -n "__fish_wattle_using_subcommand run" -s m -l model -d 'Model file (GGUF); of a split model the first part [default: the small one in the box, which tells stories]' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand run" -s t -l threads -d 'Threads [default: the big cores that this process may use]' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -s c -l ctx-size -d 'Tokens that the context holds; 0 = as many as the model was trained for [default: that, but at most 4096]' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -s b -l batch-size -d 'Most tokens of a prompt that go through the model at once' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -l cache-type -d 'Numbers of the cache [-ctk]' -r -f -a "q8\t'Latent rows in 8 bits, others in half precision'
f16\t'Half precision'
f32\t'Single precision, for exact comparisons'"
complete -c wattle -n "__fish_wattle_using_subcommand run" -l pack-cache -d 'Keep packed weights in files in DIR, as large as the model, for a faster start next time; safe to delete at any time' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand run" -s p -l prompt -d 'The text' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -s f -l file -d 'A file with the text ("-" is standard input); one newline at its end is dropped' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand run" -s n -l predict -d 'Tokens to generate; -1 = until the model ends its answer or the context is full' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -l temp -d 'Temperature; 0 always takes the most probable token' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -l top-k -d 'Keep the k most probable tokens; 0 = all' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -l top-p -d 'Keep the most probable tokens that together have this probability; 1 = all' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -l min-p -d 'Keep tokens with at least this share of the largest probability; 0 = all' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -l repeat-penalty -d 'Make recent tokens less probable; 1 = off' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -l repeat-last-n -d 'How many tokens are recent; 0 = none, -1 = the whole context' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -s s -l seed -d 'Seed of the random numbers; -1 = a new one each time, told at the end' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -l samples -d 'Draw G answers to the prompt in one batch, with the seeds SEED, SEED + 1, ..., and print each as a line of JSON' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -l reward -d 'Give the text of each answer to CMD, run by the shell, which prints its reward, a number' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -l prompt-cache -d 'Keep what the model remembers of the prompt in FILE, for a faster start of the next run that begins alike' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand run" -l power -d 'Sensor to read: auto = the best that this machine has, none, or NAME[=ARG] as `wattle power --list` has them' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -l power-cmd -d 'Program that prints a line `unix_s watts` for each reading of any other meter, run by the shell' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -l power-scope -d 'What that program\'s meter measures' -r -f -a "wall_ac\t''
dc_input\t''
board_est\t''
board_rails\t''
soc_package\t''
platform\t''
battery\t''"
complete -c wattle -n "__fish_wattle_using_subcommand run" -l meter-accuracy -d 'Relative error of the meter, as its maker states it: 1% or 0.01' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -l system-prompt -d 'Chat: what the model is told first [-sys]' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -l keep -d 'Tokens of the prompt that --context-shift never forgets, besides BOS; -1 = all' -r
complete -c wattle -n "__fish_wattle_using_subcommand run" -l no-repack -d 'Use the weights as they lie in the file: slower, but other processes can share them'
complete -c wattle -n "__fish_wattle_using_subcommand run" -l coarse -d 'Multiply long prompts with coarser scales on ARM with dot products: nearly twice the products a cycle, less exact'
complete -c wattle -n "__fish_wattle_using_subcommand run" -l prompt-cache-ro -d 'Only read that file, never write it'
complete -c wattle -n "__fish_wattle_using_subcommand run" -l cnv -d 'Chat: the text given is the first message [-cnv]'
complete -c wattle -n "__fish_wattle_using_subcommand run" -l no-cnv -d 'Never chat: continue the text as it stands [-no-cnv]'
complete -c wattle -n "__fish_wattle_using_subcommand run" -l single-turn -d 'Chat: end after the first answer [-st]'
complete -c wattle -n "__fish_wattle_using_subcommand run" -l context-shift -d 'When the context is full, forget half of what follows the first tokens (--keep) and go on'
complete -c wattle -n "__fish_wattle_using_subcommand run" -l ignore-eos -d 'Go on past the model\'s end of answer'
complete -c wattle -n "__fish_wattle_using_subcommand run" -l parse-special -d 'Take control tokens that are spelled out in the text as such'
complete -c wattle -n "__fish_wattle_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c wattle -n "__fish_wattle_using_subcommand bench" -s m -l model -d 'Model file (GGUF); may be given more than once [default: the small one in the box]' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand bench" -s p -l n-prompt -d 'Tokens of a prompt; a list (128,512) or a range (64-256+64, 1-16*2), as all N here; 0 = no such test [default: 512]' -r
complete -c wattle -n "__fish_wattle_using_subcommand bench" -s n -l n-gen -d 'Tokens generated [default: 128]' -r
complete -c wattle -n "__fish_wattle_using_subcommand bench" -l pg -d 'A prompt and tokens generated after it, timed together [-pg]' -r
complete -c wattle -n "__fish_wattle_using_subcommand bench" -s d -l n-depth -d 'Tokens that the context holds before, not timed [default: 0]' -r
complete -c wattle -n "__fish_wattle_using_subcommand bench" -s b -l batch-size -d 'Tokens of a prompt after which logits are computed [default: 2048]' -r
complete -c wattle -n "__fish_wattle_using_subcommand bench" -l ubatch-size -d 'Most tokens that go through the model at once [-ub] [default: 512]' -r
complete -c wattle -n "__fish_wattle_using_subcommand bench" -s t -l threads -d 'Threads [default: the big cores that this process may use]' -r
complete -c wattle -n "__fish_wattle_using_subcommand bench" -l cache-type -d 'Numbers of the cache [-ctk]' -r -f -a "q8\t'Latent rows in 8 bits, others in half precision'
f16\t'Half precision'
f32\t'Single precision, for exact comparisons'"
complete -c wattle -n "__fish_wattle_using_subcommand bench" -s r -l repetitions -d 'Repetitions of each test' -r
complete -c wattle -n "__fish_wattle_using_subcommand bench" -s o -l output -d 'Format of the report' -r -f -a "md\t''
json\t''
jsonl\t''
csv\t''
sql\t''"
complete -c wattle -n "__fish_wattle_using_subcommand bench" -l pack-cache -d 'Keep packed weights in files in DIR, as large as the model, for a faster start next time; safe to delete at any time' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand bench" -l idle -d 'Measure the power at rest for SECONDS (at least 10) before the first test of each model, for figures net of it' -r
complete -c wattle -n "__fish_wattle_using_subcommand bench" -l plot -d 'Draw speed and energy by depth, and power and temperature over time' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand bench" -l power -d 'Sensor to read: auto = the best that this machine has, none, or NAME[=ARG] as `wattle power --list` has them' -r
complete -c wattle -n "__fish_wattle_using_subcommand bench" -l power-cmd -d 'Program that prints a line `unix_s watts` for each reading of any other meter, run by the shell' -r
complete -c wattle -n "__fish_wattle_using_subcommand bench" -l power-scope -d 'What that program\'s meter measures' -r -f -a "wall_ac\t''
dc_input\t''
board_est\t''
board_rails\t''
soc_package\t''
platform\t''
battery\t''"
complete -c wattle -n "__fish_wattle_using_subcommand bench" -l meter-accuracy -d 'Relative error of the meter, as its maker states it: 1% or 0.01' -r
complete -c wattle -n "__fish_wattle_using_subcommand bench" -l against -d 'A llama-bench to run in turn with ours, on the same file; needs -m' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand bench" -l against-args -d 'More arguments for it, with spaces between; with -fa among them, ours does not try both' -r
complete -c wattle -n "__fish_wattle_using_subcommand bench" -l no-warmup -d 'Begin each test without a warm-up'
complete -c wattle -n "__fish_wattle_using_subcommand bench" -l no-repack -d 'Use the weights as they lie in the file'
complete -c wattle -n "__fish_wattle_using_subcommand bench" -l coarse -d 'Multiply long prompts with coarser scales on ARM with dot products'
complete -c wattle -n "__fish_wattle_using_subcommand bench" -l progress -d 'Say on standard error what is being done'
complete -c wattle -n "__fish_wattle_using_subcommand bench" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c wattle -n "__fish_wattle_using_subcommand power" -l power -d 'Sensor to read: auto = the best that this machine has, none, or NAME[=ARG] as `wattle power --list` has them' -r
complete -c wattle -n "__fish_wattle_using_subcommand power" -l power-cmd -d 'Program that prints a line `unix_s watts` for each reading of any other meter, run by the shell' -r
complete -c wattle -n "__fish_wattle_using_subcommand power" -l power-scope -d 'What that program\'s meter measures' -r -f -a "wall_ac\t''
dc_input\t''
board_est\t''
board_rails\t''
soc_package\t''
platform\t''
battery\t''"
complete -c wattle -n "__fish_wattle_using_subcommand power" -l meter-accuracy -d 'Relative error of the meter, as its maker states it: 1% or 0.01' -r
complete -c wattle -n "__fish_wattle_using_subcommand power" -l every -d 'Seconds that a line tells of' -r
complete -c wattle -n "__fish_wattle_using_subcommand power" -l once -d 'Measure once, print, and end'
complete -c wattle -n "__fish_wattle_using_subcommand power" -l json -d 'One object a line in place of text'
complete -c wattle -n "__fish_wattle_using_subcommand power" -l list -d 'Say which sensors this machine has, and what opens those that are shut'
complete -c wattle -n "__fish_wattle_using_subcommand power" -s h -l help -d 'Print help'
complete -c wattle -n "__fish_wattle_using_subcommand score" -s m -l model -d 'Model file (GGUF); of a split model the first part [default: the small one in the box, which tells stories]' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand score" -s t -l threads -d 'Threads [default: the big cores that this process may use]' -r
complete -c wattle -n "__fish_wattle_using_subcommand score" -s c -l ctx-size -d 'Tokens that the context holds; 0 = as many as the model was trained for [default: that, but at most 4096]' -r
complete -c wattle -n "__fish_wattle_using_subcommand score" -s b -l batch-size -d 'Most tokens of a prompt that go through the model at once' -r
complete -c wattle -n "__fish_wattle_using_subcommand score" -l cache-type -d 'Numbers of the cache [-ctk]' -r -f -a "q8\t'Latent rows in 8 bits, others in half precision'
f16\t'Half precision'
f32\t'Single precision, for exact comparisons'"
complete -c wattle -n "__fish_wattle_using_subcommand score" -l pack-cache -d 'Keep packed weights in files in DIR, as large as the model, for a faster start next time; safe to delete at any time' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand score" -s p -l prompt -d 'The text' -r
complete -c wattle -n "__fish_wattle_using_subcommand score" -s f -l file -d 'A file with the text ("-" is standard input); one newline at its end is dropped' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand score" -l tokens -d 'The text as token ids, taken as they are; works without a tokenizer in the file' -r
complete -c wattle -n "__fish_wattle_using_subcommand score" -l top -d 'Also name the N most probable tokens in every place' -r
complete -c wattle -n "__fish_wattle_using_subcommand score" -l logits -d 'Write the raw logits to FILE (.npy, float32, shape [tokens, vocabulary])' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand score" -l no-repack -d 'Use the weights as they lie in the file: slower, but other processes can share them'
complete -c wattle -n "__fish_wattle_using_subcommand score" -l coarse -d 'Multiply long prompts with coarser scales on ARM with dot products: nearly twice the products a cycle, less exact'
complete -c wattle -n "__fish_wattle_using_subcommand score" -l no-bos -d 'Do not begin with the model\'s BOS token'
complete -c wattle -n "__fish_wattle_using_subcommand score" -l parse-special -d 'Take control tokens that are spelled out in the text as such'
complete -c wattle -n "__fish_wattle_using_subcommand score" -l json -d 'Print JSON'
complete -c wattle -n "__fish_wattle_using_subcommand score" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c wattle -n "__fish_wattle_using_subcommand perplexity" -s m -l model -d 'Model file (GGUF); of a split model the first part [default: the small one in the box, which tells stories]' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand perplexity" -s t -l threads -d 'Threads [default: the big cores that this process may use]' -r
complete -c wattle -n "__fish_wattle_using_subcommand perplexity" -s b -l batch-size -d 'Most tokens of a prompt that go through the model at once' -r
complete -c wattle -n "__fish_wattle_using_subcommand perplexity" -l cache-type -d 'Numbers of the cache [-ctk]' -r -f -a "q8\t'Latent rows in 8 bits, others in half precision'
f16\t'Half precision'
f32\t'Single precision, for exact comparisons'"
complete -c wattle -n "__fish_wattle_using_subcommand perplexity" -l pack-cache -d 'Keep packed weights in files in DIR, as large as the model, for a faster start next time; safe to delete at any time' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand perplexity" -s p -l prompt -d 'The text' -r
complete -c wattle -n "__fish_wattle_using_subcommand perplexity" -s f -l file -d 'A file with the text ("-" is standard input); one newline at its end is dropped' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand perplexity" -l chunks -d 'Measure the first N chunks only' -r
complete -c wattle -n "__fish_wattle_using_subcommand perplexity" -l kl-base -d 'Save the model\'s distributions in FILE, or compare with those in it (--kl-divergence)' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand perplexity" -s c -l ctx-size -d 'Tokens of a chunk; 0 = as many as the model was trained for [default: 512, or what the file of --kl-divergence has]' -r
complete -c wattle -n "__fish_wattle_using_subcommand perplexity" -l no-repack -d 'Use the weights as they lie in the file: slower, but other processes can share them'
complete -c wattle -n "__fish_wattle_using_subcommand perplexity" -l coarse -d 'Multiply long prompts with coarser scales on ARM with dot products: nearly twice the products a cycle, less exact'
complete -c wattle -n "__fish_wattle_using_subcommand perplexity" -l kl-divergence -d 'Compare the model with the one that --kl-base was saved from, on that one\'s text'
complete -c wattle -n "__fish_wattle_using_subcommand perplexity" -l json -d 'Print JSON'
complete -c wattle -n "__fish_wattle_using_subcommand perplexity" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c wattle -n "__fish_wattle_using_subcommand imatrix" -s m -l model -d 'Model file (GGUF); of a split model the first part [default: the small one in the box, which tells stories]' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand imatrix" -s t -l threads -d 'Threads [default: the big cores that this process may use]' -r
complete -c wattle -n "__fish_wattle_using_subcommand imatrix" -s b -l batch-size -d 'Most tokens of a prompt that go through the model at once' -r
complete -c wattle -n "__fish_wattle_using_subcommand imatrix" -l cache-type -d 'Numbers of the cache [-ctk]' -r -f -a "q8\t'Latent rows in 8 bits, others in half precision'
f16\t'Half precision'
f32\t'Single precision, for exact comparisons'"
complete -c wattle -n "__fish_wattle_using_subcommand imatrix" -l pack-cache -d 'Keep packed weights in files in DIR, as large as the model, for a faster start next time; safe to delete at any time' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand imatrix" -s p -l prompt -d 'The text' -r
complete -c wattle -n "__fish_wattle_using_subcommand imatrix" -s f -l file -d 'A file with the text ("-" is standard input); one newline at its end is dropped' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand imatrix" -s o -l output -l output-file -d 'The file to write; an importance matrix of that name is replaced' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand imatrix" -l chunks -d 'Learn from the first N chunks only' -r
complete -c wattle -n "__fish_wattle_using_subcommand imatrix" -s c -l ctx-size -d 'Tokens of a chunk; 0 = as many as the model was trained for [default: 512]' -r
complete -c wattle -n "__fish_wattle_using_subcommand imatrix" -l no-repack -d 'Use the weights as they lie in the file: slower, but other processes can share them'
complete -c wattle -n "__fish_wattle_using_subcommand imatrix" -l coarse -d 'Multiply long prompts with coarser scales on ARM with dot products: nearly twice the products a cycle, less exact'
complete -c wattle -n "__fish_wattle_using_subcommand imatrix" -l process-output -d 'Learn about the output head too'
complete -c wattle -n "__fish_wattle_using_subcommand imatrix" -l parse-special -d 'Take control tokens that are spelled out in the text as such'
complete -c wattle -n "__fish_wattle_using_subcommand imatrix" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c wattle -n "__fish_wattle_using_subcommand inspect" -s m -l model -d 'The same, as the other subcommands take it' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand inspect" -s c -l ctx-size -d 'Tokens for which memory is counted; 0 is the most that the model was made for' -r
complete -c wattle -n "__fish_wattle_using_subcommand inspect" -l json -d 'Print one JSON object, with nothing shortened but long arrays'
complete -c wattle -n "__fish_wattle_using_subcommand inspect" -s h -l help -d 'Print help'
complete -c wattle -n "__fish_wattle_using_subcommand tokenize" -s m -l model -d 'The model; of a split model the first file [default: the one in the box]' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand tokenize" -s p -l prompt -d 'The text' -r
complete -c wattle -n "__fish_wattle_using_subcommand tokenize" -s f -l file -d 'A file with the text; "-" is standard input' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand tokenize" -l ids -d 'Tokens to turn back into text' -r
complete -c wattle -n "__fish_wattle_using_subcommand tokenize" -l parse-special -d 'Take control tokens that the text spells as such; with --ids, spell them out'
complete -c wattle -n "__fish_wattle_using_subcommand tokenize" -l bos -d 'Begin with BOS'
complete -c wattle -n "__fish_wattle_using_subcommand tokenize" -l json -d 'Print one JSON object'
complete -c wattle -n "__fish_wattle_using_subcommand tokenize" -s h -l help -d 'Print help'
complete -c wattle -n "__fish_wattle_using_subcommand quantize" -l imatrix -d 'Importance matrix, from `wattle imatrix` or llama-imatrix' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand quantize" -l output-tensor-type -d 'Type of output.weight' -r
complete -c wattle -n "__fish_wattle_using_subcommand quantize" -l token-embedding-type -d 'Type of the token embeddings' -r
complete -c wattle -n "__fish_wattle_using_subcommand quantize" -l tensor-type -d 'Type of the tensors in whose names a regular expression is found; the first that fits counts' -r
complete -c wattle -n "__fish_wattle_using_subcommand quantize" -s t -l threads -d 'Threads [default: the big cores that this process may use]' -r
complete -c wattle -n "__fish_wattle_using_subcommand quantize" -l allow-requantize -d 'Convert tensors that are quantised already, which loses quality'
complete -c wattle -n "__fish_wattle_using_subcommand quantize" -l pure -d 'One type for all tensors, without the rules of the mix'
complete -c wattle -n "__fish_wattle_using_subcommand quantize" -l leave-output-tensor -d 'Leave output.weight as it is'
complete -c wattle -n "__fish_wattle_using_subcommand quantize" -l keep-split -d 'Keep the files of a split model: the default, accepted for llama-quantize\'s users'
complete -c wattle -n "__fish_wattle_using_subcommand quantize" -l merge -d 'Write a split model to one file'
complete -c wattle -n "__fish_wattle_using_subcommand quantize" -s f -l force -d 'Replace files that exist'
complete -c wattle -n "__fish_wattle_using_subcommand quantize" -l dry-run -d 'Only say what would become of each tensor'
complete -c wattle -n "__fish_wattle_using_subcommand quantize" -l json -d 'Print one JSON object'
complete -c wattle -n "__fish_wattle_using_subcommand quantize" -s h -l help -d 'Print help'
complete -c wattle -n "__fish_wattle_using_subcommand synth" -l layers -d 'Write so many layers [default: those of the model; of v3-few and v32-few 2]' -r
complete -c wattle -n "__fish_wattle_using_subcommand synth" -s s -l seed -d 'The weights follow from it' -r
complete -c wattle -n "__fish_wattle_using_subcommand synth" -s t -l threads -d 'Threads [default: the big cores that this process may use]' -r
complete -c wattle -n "__fish_wattle_using_subcommand synth" -l list -d 'Print the shapes and their sizes, as without SHAPE'
complete -c wattle -n "__fish_wattle_using_subcommand synth" -s f -l force -d 'Replace a file that exists'
complete -c wattle -n "__fish_wattle_using_subcommand synth" -l json -d 'Print one JSON object'
complete -c wattle -n "__fish_wattle_using_subcommand synth" -s h -l help -d 'Print help'
complete -c wattle -n "__fish_wattle_using_subcommand boards" -l this -d 'Say which board this is, and what its kernel tells of it'
complete -c wattle -n "__fish_wattle_using_subcommand boards" -l json -d 'Print one JSON object'
complete -c wattle -n "__fish_wattle_using_subcommand boards" -s h -l help -d 'Print help'
complete -c wattle -n "__fish_wattle_using_subcommand doctor" -s m -l model -d 'Measure how fast this file is read [default: a temporary one of 64 MiB in the working folder]' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand doctor" -l no-measure -d 'Measure nothing: look only'
complete -c wattle -n "__fish_wattle_using_subcommand doctor" -l json -d 'Print one JSON object'
complete -c wattle -n "__fish_wattle_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c wattle -n "__fish_wattle_using_subcommand tune" -s m -l model -d 'Model file (GGUF) [default: the small one in the box]' -r -F
complete -c wattle -n "__fish_wattle_using_subcommand tune" -s n -l n-gen -d 'Tokens to decode in each repetition' -r
complete -c wattle -n "__fish_wattle_using_subcommand tune" -s r -l repetitions -d 'Repetitions of each way' -r
complete -c wattle -n "__fish_wattle_using_subcommand tune" -l prefer -d 'Which way to choose' -r -f -a "speed\t'The most tokens a second'
energy\t'The most tokens a joule'"
complete -c wattle -n "__fish_wattle_using_subcommand tune" -l clocks -d 'Also cap the cores\' clocks, where this user may; they are put back at the end'
complete -c wattle -n "__fish_wattle_using_subcommand tune" -l save -d 'Keep the choice for this board: `wattle run` follows it where no -t is given'
complete -c wattle -n "__fish_wattle_using_subcommand tune" -l no-repack -d 'Use the weights as they lie in the file'
complete -c wattle -n "__fish_wattle_using_subcommand tune" -l json -d 'Print one JSON object'
complete -c wattle -n "__fish_wattle_using_subcommand tune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c wattle -n "__fish_wattle_using_subcommand help; and not __fish_seen_subcommand_from run bench power score perplexity imatrix inspect tokenize quantize synth boards doctor tune help" -f -a "run" -d 'Continue a text, or chat with the model'
complete -c wattle -n "__fish_wattle_using_subcommand help; and not __fish_seen_subcommand_from run bench power score perplexity imatrix inspect tokenize quantize synth boards doctor tune help" -f -a "bench" -d 'Measure how fast a model runs, as llama-bench does'
complete -c wattle -n "__fish_wattle_using_subcommand help; and not __fish_seen_subcommand_from run bench power score perplexity imatrix inspect tokenize quantize synth boards doctor tune help" -f -a "power" -d 'Show what this machine draws, how hot it is, and whether it is throttled'
complete -c wattle -n "__fish_wattle_using_subcommand help; and not __fish_seen_subcommand_from run bench power score perplexity imatrix inspect tokenize quantize synth boards doctor tune help" -f -a "score" -d 'Say how probable a text is, token by token'
complete -c wattle -n "__fish_wattle_using_subcommand help; and not __fish_seen_subcommand_from run bench power score perplexity imatrix inspect tokenize quantize synth boards doctor tune help" -f -a "perplexity" -d 'Measure how well a model predicts a text, and how far it is from another model'
complete -c wattle -n "__fish_wattle_using_subcommand help; and not __fish_seen_subcommand_from run bench power score perplexity imatrix inspect tokenize quantize synth boards doctor tune help" -f -a "imatrix" -d 'Learn from a text which columns of a model matter, for quantize'
complete -c wattle -n "__fish_wattle_using_subcommand help; and not __fish_seen_subcommand_from run bench power score perplexity imatrix inspect tokenize quantize synth boards doctor tune help" -f -a "inspect" -d 'Show what a model file holds and needs'
complete -c wattle -n "__fish_wattle_using_subcommand help; and not __fish_seen_subcommand_from run bench power score perplexity imatrix inspect tokenize quantize synth boards doctor tune help" -f -a "tokenize" -d 'Text to token ids, or ids to text'
complete -c wattle -n "__fish_wattle_using_subcommand help; and not __fish_seen_subcommand_from run bench power score perplexity imatrix inspect tokenize quantize synth boards doctor tune help" -f -a "quantize" -d 'Make a model file smaller: fewer bits a weight'
complete -c wattle -n "__fish_wattle_using_subcommand help; and not __fish_seen_subcommand_from run bench power score perplexity imatrix inspect tokenize quantize synth boards doctor tune help" -f -a "synth" -d 'Write random weights in the shape of a real model, to measure speed with'
complete -c wattle -n "__fish_wattle_using_subcommand help; and not __fish_seen_subcommand_from run bench power score perplexity imatrix inspect tokenize quantize synth boards doctor tune help" -f -a "boards" -d 'Say which boards are known, and which this one is'
complete -c wattle -n "__fish_wattle_using_subcommand help; and not __fish_seen_subcommand_from run bench power score perplexity imatrix inspect tokenize quantize synth boards doctor tune help" -f -a "doctor" -d 'Check this machine: kernels, cores, memory, storage, throttling, sensors, and what runs on it'
complete -c wattle -n "__fish_wattle_using_subcommand help; and not __fish_seen_subcommand_from run bench power score perplexity imatrix inspect tokenize quantize synth boards doctor tune help" -f -a "tune" -d 'Find the threads, cores and clocks that run a model fastest, or on the fewest joules'
complete -c wattle -n "__fish_wattle_using_subcommand help; and not __fish_seen_subcommand_from run bench power score perplexity imatrix inspect tokenize quantize synth boards doctor tune help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
