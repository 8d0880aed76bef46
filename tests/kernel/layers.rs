//! A container's own layer above its image.

use super::world::{Check, World, ended, ensure};
use cri::{ContainerConfig, Runtime};

/// Directories of an image can be removed and made again, with any kernel: an overlay notes in
/// attributes of the upper layer that a directory replaces something of the image, and before Linux
/// 6.6 an ordinary user's has none (`ROPEWALK_TEST_UID` names the user; tests/vm has the kernel).
const REPLACE: &str = "set -e; rm -r /usr/share/nginx/html /var /etc/nsswitch.conf; \
    mkdir -p /usr/share/nginx/html /var/log /etc/nsswitch.conf/x; echo page > /usr/share/nginx/html/index.html; \
    rm /bin/nginx; echo text > /bin/nginx; mv /usr/share /usr/other; ls /usr/other/nginx/html; stat -c %a /tmp; \
    ls /var; cat /usr/other/nginx/html/index.html; echo replaced";

pub(crate) async fn replaced(w: World) -> Check {
    let config = ContainerConfig {
        name: "replace".into(),
        image: "nginx".into(),
        command: vec!["/bin/sh".into(), "-c".into(), REPLACE.into()],
        log_path: "replace/0.log".into(),
        ..ContainerConfig::default()
    };
    let runtime = &w.nodes[0].runtime;
    let sandbox = runtime.run_pod_sandbox(w.sandbox("replace")).await?;
    let id = runtime.create_container(&sandbox.id, config).await?;
    runtime.start_container(&id).await?;
    let status = ended(runtime, &id).await?;
    let log = w.log_of(0, &id).await?;
    let said: Vec<&str> =
        log.lines().filter_map(|line| line.split_once(" stdout F ").map(|(_, t)| t)).collect();
    ensure(
        status.exit_code == 0 && said == ["index.html", "1777", "log", "page", "replaced"],
        format!("{status:?}\n{log}"),
    )
}
