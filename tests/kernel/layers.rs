//! A container's own layer above its image.

use super::world::{Check, World, ended, ensure, shell};
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

/// The image `pause` has a user, who exists unless Ropewalk's own user has too few subordinate ids.
pub(crate) async fn user(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let mut sandbox = w.sandbox("user");
    sandbox.share_process_namespace = true;
    let sandbox = runtime.run_pod_sandbox(sandbox).await?;
    let config = ContainerConfig {
        name: "idle".into(),
        image: "registry.k8s.io/pause:3.10".into(),
        log_path: "idle/0.log".into(),
        ..ContainerConfig::default()
    };
    let idle = runtime.create_container(&sandbox.id, config).await?;
    runtime.start_container(&idle).await?;
    let look = shell("grep -h -E '^(Name|Uid|Gid):' /proc/[0-9]*/status");
    let look = runtime.create_container(&sandbox.id, look).await?;
    runtime.start_container(&look).await?;
    ended(runtime, &look).await?;
    let (status, log) = (runtime.container_status(&idle).await?, w.log_of(0, &look).await?);
    let exists = linux::user::exists(65535);
    ensure(log.contains("Uid:\t65535\t65535\t65535\t65535") == exists, &log)?;
    let uid = if exists { 65535 } else { 0 };
    ensure(status.user.as_ref().is_some_and(|user| user.uid == uid), format!("{status:?}"))?;
    ensure(status.warnings.iter().any(|text| text.contains("user 0")) != exists, format!("{status:?}"))
}
