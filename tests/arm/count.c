/* A plugin for qemu-user that counts the instructions a program executes, exactly and the same every time.
 *
 *     gcc -O2 -shared -fPIC -o count.so count.c
 *     qemu-aarch64 -plugin ./count.so,out=FILE PROGRAM ...
 *
 * QEMU translates code in blocks: straight runs of instructions with one way in. Each translated block gets a counter that the
 * translated code itself adds to (a callback would cost hundreds of instructions, this costs three). When the program ends, FILE has
 *
 *     start ADDRESS                          of the program's code in memory, which tells how far it was moved
 *     ADDRESS INSTRUCTIONS EXECUTIONS        a line for each block that ran
 *
 * so the sum of the products is the count, and with the symbols of the program it is a profile. Counters are not atomic: of a
 * program that computes in two threads some are lost.
 *
 * Debian's qemu-user has plugins and no header for them, so what is used of version 1 of the interface is declared here. It is
 * documented in QEMU's docs/devel/tcg-plugins.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;

enum { ADD_U64 = 0 };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_start_code(void);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*translated)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *counter, uint64_t add);
void qemu_plugin_register_atexit_cb(plugin_id id, void (*ended)(plugin_id, void *), void *data);

EXPORT int qemu_plugin_version = 1;

struct block {
    uint64_t address, instructions, executions;
    struct block *next;
};

static struct block *_Atomic blocks; /* The list of all; a block that is translated again is in it again. */

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
    (void)id;
    struct block *block = calloc(1, sizeof *block);
    if (!block) {
        fputs("count: out of memory\n", stderr);
        abort();
    }
    block->address = qemu_plugin_tb_vaddr(tb);
    block->instructions = qemu_plugin_tb_n_insns(tb);
    block->next = blocks;
    while (!__atomic_compare_exchange_n((struct block **)&blocks, &block->next, block, 0, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE)) {
    }
    qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &block->executions, 1);
}

static void ended(plugin_id id, void *out)
{
    (void)id;
    fprintf(out, "start 0x%" PRIx64 "\n", qemu_plugin_start_code());
    for (const struct block *block = blocks; block; block = block->next) {
        if (block->executions) {
            fprintf(out, "0x%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", block->address, block->instructions, block->executions);
        }
    }
    if (fclose(out) != 0) {
        perror("count: out");
    }
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
    (void)info;
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0) {
        fputs("count: the one argument is out=FILE\n", stderr);
        return 1;
    }
    FILE *out = fopen(argv[0] + 4, "w");
    if (!out) {
        perror(argv[0]);
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, out);
    return 0;
}
