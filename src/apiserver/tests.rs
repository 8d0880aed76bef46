//! The server as a whole.

use super::testing;

/// Serves until killed, for trying real clients by hand: `ROPEWALK_DEV_API=dir cargo test --lib dev_server`.
#[tokio::test(flavor = "multi_thread")]
async fn dev_server() {
    let Some(dir) = std::env::var_os("ROPEWALK_DEV_API") else { return };
    std::fs::create_dir_all(&dir).unwrap();
    let fixture = testing::start(dir.as_ref()).await;
    println!("{}", fixture.kubeconfig.len());
    std::future::pending::<()>().await;
}
