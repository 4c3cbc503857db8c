/*
 * Lets a libstdc++ that was built for glibc serve under musl: it is put in its place, by its name, and brings it along.
 * An Alpine image has a libstdc++ of its own; Debian has none for musl. All else in the chroot is musl's or knows only it.
 *
 * Rule 1: libc is musl. Nothing of glibc is here or loaded; this file supplies the few names that musl has not, and the
 *         layout of a locale, which libstdc++ looks into.
 * Rule 2: what the runtime under test does not depend on is not imitated: one locale, no destructors of thread locals.
 */
#include <stddef.h>

/* glibc's locale begins with 13 pointers, of which musl's is the first 6 (all null: its C locale); then come the tables
   that ctype<char> reads. */
struct locale {
  const void *categories[13];
  const unsigned short *classes;
  const int *to_lower, *to_upper;
  const char *names[13];
};

const unsigned short **__ctype_b_loc(void);
const int **__ctype_tolower_loc(void);
const int **__ctype_toupper_loc(void);
size_t strftime_l(char *, size_t, const char *, const void *, void *);
long getrandom(void *, size_t, unsigned);
void *malloc(size_t);
void *memcpy(void *, const void *, size_t);
void *memmove(void *, const void *, size_t);
void free(void *);

static struct locale c_locale;

void *__newlocale(int mask, const char *name, void *base) {
  (void)mask, (void)base;
  if (name[0] != 'C' && name[0] != '\0') return NULL;
  c_locale.classes = *__ctype_b_loc();
  c_locale.to_lower = *__ctype_tolower_loc();
  c_locale.to_upper = *__ctype_toupper_loc();
  for (size_t i = 0; i < 13; i++) c_locale.names[i] = "C";
  return &c_locale;
}

void *__duplocale(void *locale) { return locale; }

void __freelocale(void *locale) { (void)locale; }

size_t __strftime_l(char *out, size_t size, const char *format, const void *time, void *locale) {
  return strftime_l(out, size, format, time, locale);
}

/* False makes libstdc++ count references atomically, always. */
char __libc_single_threaded = 0;

unsigned arc4random(void) {
  unsigned value = 0;
  getrandom(&value, sizeof value, 0);
  return value;
}

int __cxa_thread_atexit_impl(void (*destroy)(void *), void *object, void *library) {
  (void)destroy, (void)object, (void)library;
  return 0;
}

/* libgcc then asks dl_iterate_phdr, which musl has. */
int _dl_find_object(void *address, void *result) {
  (void)address, (void)result;
  return -1;
}

/* libgcc has these by an old version of their names, which musl's loader does not look at. */
unsigned __cpu_model[8];
int __cpu_indicator_init(void) { return 0; }

/* std::string of GCC 13 and later: replaces `removed` bytes at `at`, before `tail` more, by a text that may lie there. */
void replace_in_place(void *, char *, size_t, const char *, size_t, size_t) __asm__(
    "_ZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE15_M_replace_coldEPcmPKcmm");

void replace_in_place(void *string, char *at, size_t removed, const char *text, size_t length, size_t tail) {
  (void)string;
  char *copy = malloc(length + 1);
  memcpy(copy, text, length);
  memmove(at + length, at + removed, tail);
  memcpy(at, copy, length);
  free(copy);
}
