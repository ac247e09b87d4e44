//! The `headgate` program; everything is in the library.

fn main() -> std::process::ExitCode {
    headgate::cli::run()
}
