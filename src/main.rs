//! The `headgate` program; everything is in the library.

/// Objects are parsed, compared and let go of by the ten thousand, on several threads: the system's allocator is slow at that,
/// and keeps what it was given.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    headgate::cli::run()
}
