//! Programs that serve until a signal ends them.

use std::future::Future;

/// Runs a server on this thread alone, as long as it lasts: the program's exit code. `says` begins
/// its complaints.
pub(crate) fn serve(says: &str, server: impl Future<Output = Result<(), String>>) -> i32 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            super::err(&format!("{says}: cannot start: {e}\n"));
            return 1;
        }
    };
    match tokio::task::LocalSet::new().block_on(&runtime, server) {
        Ok(()) => 0,
        Err(e) => {
            super::err(&format!("{says}: {e}\n"));
            1
        }
    }
}
