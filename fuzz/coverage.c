/*
 * Tells libFuzzer which ways compiled code takes. gcc calls the functions below at every edge and comparison
 * (-fsanitize-coverage=trace-pc,trace-cmp); libFuzzer wants counters and a table of places, as clang makes them.
 * Linked into each extension module; libFuzzer is inside atheris' module, whose path is in FUZZ_CORE.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

#define HIDDEN __attribute__((visibility("hidden")))
#define PLACES (1 << 16)
#define BYTES_A_PLACE 4 /* a call of the functions below takes five */

static uint8_t counters[PLACES];
static struct {
    uintptr_t pc, flags;
} places[PLACES];

static void (*compare1)(uint8_t, uint8_t);
static void (*compare2)(uint16_t, uint16_t);
static void (*compare4)(uint32_t, uint32_t);
static void (*compare8)(uint64_t, uint64_t);
static void (*choose)(uint64_t, uint64_t *);

HIDDEN void __sanitizer_cov_trace_pc(void)
{
    uintptr_t pc = (uintptr_t)__builtin_return_address(0) - (uintptr_t)&__sanitizer_cov_trace_pc;
    counters[pc / BYTES_A_PLACE % PLACES]++;
}

HIDDEN void __sanitizer_cov_trace_cmp1(uint8_t a, uint8_t b) { if (compare1) compare1(a, b); }
HIDDEN void __sanitizer_cov_trace_cmp2(uint16_t a, uint16_t b) { if (compare2) compare2(a, b); }
HIDDEN void __sanitizer_cov_trace_cmp4(uint32_t a, uint32_t b) { if (compare4) compare4(a, b); }
HIDDEN void __sanitizer_cov_trace_cmp8(uint64_t a, uint64_t b) { if (compare8) compare8(a, b); }
HIDDEN void __sanitizer_cov_trace_const_cmp1(uint8_t a, uint8_t b) { if (compare1) compare1(a, b); }
HIDDEN void __sanitizer_cov_trace_const_cmp2(uint16_t a, uint16_t b) { if (compare2) compare2(a, b); }
HIDDEN void __sanitizer_cov_trace_const_cmp4(uint32_t a, uint32_t b) { if (compare4) compare4(a, b); }
HIDDEN void __sanitizer_cov_trace_const_cmp8(uint64_t a, uint64_t b) { if (compare8) compare8(a, b); }
HIDDEN void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases) { if (choose) choose(value, cases); }
HIDDEN void __sanitizer_cov_trace_cmpf(float a, float b) { (void)a, (void)b; }
HIDDEN void __sanitizer_cov_trace_cmpd(double a, double b) { (void)a, (void)b; }

__attribute__((constructor)) static void meet_the_fuzzer(void)
{
    const char *path = getenv("FUZZ_CORE");
    void *core = path ? dlopen(path, RTLD_NOW | RTLD_NOLOAD) : NULL;
    if (!core)
        return;
    for (uintptr_t i = 0; i < PLACES; i++)
        places[i].pc = (uintptr_t)&__sanitizer_cov_trace_pc + i * BYTES_A_PLACE;
    void (*count)(uint8_t *, uint8_t *) = dlsym(core, "__sanitizer_cov_8bit_counters_init");
    void (*place)(const uintptr_t *, const uintptr_t *) = dlsym(core, "__sanitizer_cov_pcs_init");
    count(counters, counters + PLACES);
    place((const uintptr_t *)places, (const uintptr_t *)(places + PLACES));
    compare1 = dlsym(core, "__sanitizer_cov_trace_cmp1");
    compare2 = dlsym(core, "__sanitizer_cov_trace_cmp2");
    compare4 = dlsym(core, "__sanitizer_cov_trace_cmp4");
    compare8 = dlsym(core, "__sanitizer_cov_trace_cmp8");
    choose = dlsym(core, "__sanitizer_cov_trace_switch");
}
