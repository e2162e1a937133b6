/* gcc -gdwarf-N -O1 -nostdlib -static -Wl,--build-id=sha1 -Wl,-Ttext=0xffff82d040200000 -mcmodel=large
   -fno-asynchronous-unwind-tables, then gzip -9n: unit-dwarfN.elf.gz, debugging data of two releases */
struct inner { int first; long second; };
struct sample { char *name; struct inner in[3]; unsigned flags : 3; union { int a; float b; } both; struct sample *next; };
enum kind { ONE, TWO };
struct sample idle_pg_table; enum kind domain_list;
static int helper(struct sample *given, enum kind kind) { return given->in[1].first + kind; }
void _start(void) { domain_list = helper(&idle_pg_table, TWO); }
