use super::super::images::Definition;
use super::process::{capabilities, choose_user, not_enforced, process, user};
use super::*;
use cri::{Resources, SandboxConfig, Security};
use linux::cgroup::{Lack, Missing};
use linux::confine;

#[test]
fn the_pod_overrides_the_image_as_in_kubernetes() {
    let image = Definition {
        entrypoint: &["entry"],
        command: &["default"],
        env: &[("A", "image"), ("B", "image")],
        ..super::super::images::definitions().remove(0)
    };
    let argv = |command: &[&str], args: &[&str]| {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_string()).collect();
        let config = ContainerConfig { command: own(command), args: own(args), ..Default::default() };
        process(&config, &image, "h", true).unwrap().0.argv.join(" ")
    };
    assert_eq!(argv(&[], &[]), "entry default");
    assert_eq!(argv(&[], &["x"]), "entry x");
    assert_eq!(argv(&["mine"], &[]), "mine");
    assert_eq!(argv(&["mine"], &["x"]), "mine x");
    let config = ContainerConfig { env: vec![("A".into(), "pod".into())], ..Default::default() };
    let env = process(&config, &image, "web", true).unwrap().0.env;
    let value =
        |name: &str| env.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    assert_eq!((value("A"), value("B"), value("HOSTNAME")), (vec!["pod"], vec!["image"], vec!["web"]));
    let names: Vec<&str> = env.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["PATH", "HOSTNAME", "A", "B"], "what is replaced keeps its place");
    let config = ContainerConfig { tty: true, ..Default::default() };
    let env = process(&config, &image, "web", true).unwrap().0.env;
    let names: Vec<&str> = env.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["PATH", "TERM", "HOSTNAME", "A", "B"]);
}

/// As containerd. A process of `exec` has the same groups.
#[test]
fn the_image_gives_its_users_their_groups() {
    let passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/:/bin/sh\n";
    let group = "root:x:0:root\nmail:x:8:app\ndata:x:33:nginx,app\n";
    let image = Definition {
        files: vec![("etc/passwd", passwd.to_string()), ("etc/group", group.to_string())],
        ..super::super::images::definitions().remove(0)
    };
    let of = |run_as_user: Option<u32>, run_as_group: Option<u32>, groups: &[u32]| {
        let supplemental_groups = groups.to_vec();
        let security = Security { run_as_user, run_as_group, supplemental_groups, ..Default::default() };
        let config = ContainerConfig { security, ..Default::default() };
        let process = process(&config, &image, "h", true).unwrap().0;
        (process.gid, process.groups)
    };
    assert_eq!(of(Some(1000), None, &[50, 33, 50]), (1001, vec![8, 33, 50]), "each once, in order");
    assert_eq!(of(Some(1000), Some(2), &[]), (2, vec![8, 33]));
    assert_eq!(of(None, None, &[]), (0, vec![]), "its own group is the primary one");
    assert_eq!(of(Some(7), None, &[]), (0, vec![]), "a user that the image does not know");
    let strict = |groups: &[u32]| {
        let (run_as_user, supplemental_groups) = (Some(1000), groups.to_vec());
        let security =
            Security { run_as_user, supplemental_groups, strict_groups: true, ..Default::default() };
        let config = ContainerConfig { security, ..Default::default() };
        user(&process(&config, &image, "h", true).unwrap().0)
    };
    assert_eq!(strict(&[50]), cri::User { uid: 1000, gid: 1001, groups: vec![50, 1001] });
    assert_eq!(strict(&[]).groups, [1001]);
    let security = Security { supplemental_groups: vec![33, 0], ..Default::default() };
    let config = ContainerConfig { security, ..Default::default() };
    let shown = user(&process(&config, &image, "h", true).unwrap().0);
    assert_eq!(shown, cri::User { uid: 0, gid: 0, groups: vec![0, 33] });
    let security =
        Security { run_as_group: Some(3000), supplemental_groups: vec![4000, 7], ..Default::default() };
    let config = ContainerConfig { security, ..Default::default() };
    let shown = user(&process(&config, &image, "h", true).unwrap().0);
    assert_eq!(shown, cri::User { uid: 0, gid: 3000, groups: vec![7, 3000, 4000] });
}

/// The image `pause` has user 65535, the others have root. `runAsNonRoot` is about who runs in the
/// end.
#[test]
fn a_container_runs_as_its_images_user_unless_its_pod_names_one() {
    let all = super::super::images::definitions();
    let chosen = |name: &str, run_as_user: Option<u32>, non_root: bool, exists: bool| {
        let image = all.iter().find(|image| image.name.ends_with(name)).unwrap();
        let mut security = Security { run_as_user, non_root, ..Default::default() };
        let warning = choose_user(&mut security, image, |_| exists).map_err(|e| e.line())?;
        let config = ContainerConfig { security, ..Default::default() };
        let shown = user(&process(&config, image, "h", true).unwrap().0);
        Ok::<_, String>((shown.uid, shown.gid, warning.is_some()))
    };
    let refused = Err("container has runAsNonRoot and image will run as root".to_string());
    assert_eq!(chosen("/pause", None, false, true), Ok((65535, 0, false)));
    assert_eq!(chosen("/pause", None, true, true), Ok((65535, 0, false)));
    assert_eq!(chosen("/pause", Some(7), true, true), Ok((7, 0, false)));
    assert_eq!(chosen("/pause", Some(0), false, true), Ok((0, 0, false)));
    assert_eq!(chosen("/pause", None, false, false), Ok((0, 0, true)), "there are too few users");
    assert_eq!(chosen("/pause", None, true, false), refused);
    assert_eq!(chosen("/nginx", None, false, true), Ok((0, 0, false)));
    assert_eq!(chosen("/nginx", None, true, true), refused);
    assert_eq!(chosen("/nginx", Some(101), true, true), Ok((101, 101, false)));
}

#[test]
fn capabilities_are_added_after_all_are_dropped() {
    let security = Security {
        add_capabilities: vec!["net_admin".into(), "CHOWN".into()],
        drop_capabilities: vec!["all".into()],
        ..Default::default()
    };
    assert_eq!(capabilities(&security), ["CHOWN", "NET_ADMIN"]);
    let security = Security { drop_capabilities: vec!["NET_RAW".into()], ..Default::default() };
    assert_eq!(capabilities(&security).len(), confine::DEFAULT_CAPABILITIES.len() - 1);
}

/// A policy that appends to `drop` has the last word.
#[test]
fn a_capability_in_both_lists_is_dropped() {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_string()).collect::<Vec<_>>();
    let with = |add: &[&str], drop: &[&str]| {
        let (add_capabilities, drop_capabilities) = (list(add), list(drop));
        capabilities(&Security { add_capabilities, drop_capabilities, ..Default::default() })
    };
    assert_eq!(with(&["NET_ADMIN", "NET_RAW"], &["NET_ADMIN", "net_raw"]), with(&[], &["NET_RAW"]));
    let all_but_one = with(&["ALL", "CHOWN"], &["CHOWN"]);
    assert_eq!(all_but_one.len(), confine::all_capabilities().len() - 1);
    assert!(!all_but_one.contains(&"CHOWN".to_string()));
    assert_eq!(with(&["ALL", "CHOWN"], &["ALL"]), ["CHOWN"]);
    assert_eq!(with(&["CHOWN"], &["ALL", "CHOWN"]), [""; 0]);
    assert_eq!(with(&["CAP_NET_ADMIN"], &["ALL"]), ["CAP_NET_ADMIN"], "a name that nothing has");
}

/// A manifest of a megabyte holds as many. To look each of them up in a list took a processor for
/// most of a minute, at every start of the container.
#[test]
fn long_lists_of_capabilities_delay_no_container() {
    let list = |letter: char| (0..60_000).map(|n| format!("{letter}{n:05}")).collect::<Vec<_>>();
    let (add_capabilities, drop_capabilities) = (list('a'), list('b'));
    let security = Security { add_capabilities, drop_capabilities, ..Default::default() };
    let begun = std::time::Instant::now();
    assert_eq!(capabilities(&security).len(), 60_000 + confine::DEFAULT_CAPABILITIES.len());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn device_nodes_need_a_device_cgroup() {
    let image = super::super::images::definitions().remove(0);
    let with = |controls_devices, privileged| {
        let add_capabilities = vec!["MKNOD".to_string()];
        let security = Security { add_capabilities, privileged, ..Default::default() };
        let command = vec!["true".to_string()];
        let config = ContainerConfig { command, security, ..Default::default() };
        let (process, warnings) = process(&config, &image, "h", controls_devices).unwrap();
        (process.capabilities.iter().any(|c| c == "MKNOD"), warnings)
    };
    assert_eq!(with(true, false), (true, vec![]));
    let (granted, warnings) = with(false, false);
    assert!(!granted && warnings.len() == 1 && warnings[0].starts_with("capability MKNOD is not granted"));
    assert_eq!(with(false, true), (true, vec![]));
    assert!(!capabilities(&Security::default()).contains(&"MKNOD".to_string()));
}

/// A stop that finds no process returns at once. If the status still said Running then,
/// `remove_container` would remove a running container.
#[test]
fn a_container_shows_its_end_before_it_lets_go_of_its_process() {
    let (status, live) = (watch::Sender::new(Status::created()), Mutex::new(Some(())));
    status.send_modify(|status| status.state = ContainerState::Running);
    std::thread::scope(|scope| {
        let looking = live.lock(); // a stop, say
        scope.spawn(|| publish_end(&status, &live, |status| status.state = ContainerState::Exited));
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while status.borrow().state != ContainerState::Exited {
            assert!(std::time::Instant::now() < until, "its process goes first");
            std::thread::yield_now();
        }
        assert!(looking.is_some());
    });
    assert!(live.lock().is_none());
}

#[test]
fn an_end_has_the_reason_that_kubectl_shows() {
    assert_eq!(reason(Exit::Code(0), false), "Completed");
    assert_eq!(reason(Exit::Signal(9), true), "OOMKilled");
    assert_eq!(reason(Exit::Signal(9), false), "Error");
}

/// As for a user of systemd before 252, and where there are no control groups.
#[test]
fn a_limit_that_no_control_group_holds_is_a_warning() {
    let both = Resources { memory_limit: Some(1 << 26), cpu_limit_milli: Some(100), ..Default::default() };
    let whole = SandboxConfig { memory_limit: Some(1 << 27), ..Default::default() };
    let warnings = |container: &Resources, pod: &SandboxConfig, missing: Missing| {
        not_enforced(container, pod, Some(&Lack { missing, why: "no cgroup".into() }))
    };
    let (none, plain) = (Resources::default(), SandboxConfig::default());
    let of = |name: &str| format!("the {name} limit is not enforced: no cgroup; see `ropewalk doctor`");
    assert_eq!(warnings(&both, &plain, Missing::Group), [of("memory"), of("cpu")]);
    assert_eq!(warnings(&both, &plain, Missing::Delegation(vec!["cpu"])), [of("cpu")]);
    assert_eq!(warnings(&none, &whole, Missing::Group), [of("memory")], "a limit of the whole pod");
    assert!(warnings(&none, &plain, Missing::Group).is_empty(), "it asks for none");
    assert!(not_enforced(&both, &whole, None).is_empty());
}
