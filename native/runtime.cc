// The little that the compiler expects of a C++ runtime, so that the addon needs no library at all and one binary loads
// under glibc and musl alike: libstdc++ is not there in every image, and a static copy of it asks for a recent glibc.
//
// Rule 1: what cannot be done ends the process, as an uncaught exception would: there are no exceptions here.
#include <stdlib.h>

#include <new>
#include <string>

// Its members are promised by libstdc++'s headers to be in the library; here they are made.
template class std::basic_string<char>;

void* operator new(size_t size) {
  void* memory = malloc(size == 0 ? 1 : size);
  if (memory == nullptr) abort();
  return memory;
}

void* operator new[](size_t size) { return operator new(size); }

void* operator new(size_t size, const std::nothrow_t&) noexcept { return malloc(size == 0 ? 1 : size); }

void* operator new[](size_t size, const std::nothrow_t&) noexcept { return malloc(size == 0 ? 1 : size); }

void operator delete(void* memory) noexcept { free(memory); }

void operator delete[](void* memory) noexcept { free(memory); }

void operator delete(void* memory, size_t) noexcept { free(memory); }

void operator delete[](void* memory, size_t) noexcept { free(memory); }

extern "C" void __cxa_pure_virtual() { abort(); }

// libstdc++'s headers call these where they would throw.
namespace std {
[[noreturn]] void __throw_length_error(const char*) { abort(); }
[[noreturn]] void __throw_logic_error(const char*) { abort(); }
[[noreturn]] void __throw_out_of_range_fmt(const char*, ...) { abort(); }
[[noreturn]] void __throw_bad_alloc() { abort(); }
[[noreturn]] void __throw_bad_array_new_length() { abort(); }
[[noreturn]] void __throw_bad_function_call() { abort(); }
[[noreturn]] void __throw_system_error(int) { abort(); }
}  // namespace std
