// Runs one launch from a file, for ThreadSanitizer, which must be in the program from its start.
// File: grid, block, seed, number of arguments (uint32 each); each argument is the number of its
// bytes and these: 4 are an int32, more (rounded up by the writer) a buffer whose address is passed.
#include <cstdlib>

extern "C" const char* KERNEL(const unsigned*, const unsigned*, void**, unsigned);

int main(int, char** names) {
  FILE* file = fopen(names[1], "rb");
  const auto number = [&] {
    unsigned value = 0;
    if (fread(&value, sizeof value, 1, file) != 1) exit(4);
    return value;
  };
  unsigned grid[3], block[3];
  for (unsigned& n : grid) n = number();
  for (unsigned& n : block) n = number();
  const unsigned seed = number(), count = number();
  std::vector<void*> values(count), arguments(count);
  for (unsigned i = 0; i < count; ++i) {
    const unsigned bytes = number();
    values[i] = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (fread(values[i], 1, bytes, file) != bytes) exit(4);
    arguments[i] = bytes == 4 ? values[i] : &values[i];
  }
  const char* error = KERNEL(grid, block, arguments.data(), seed);
  if (error) fprintf(stderr, "%s\n", error);
  return error ? 3 : 0;
}
