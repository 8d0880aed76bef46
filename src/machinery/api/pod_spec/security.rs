//! Security contexts of pods and containers.

use super::lists::GROUPS;
use super::volumes::descending;
use super::windows;
use crate::errors::Errors;
use crate::validate::fields::one_of;
use crate::value::{at, flag, list, text};
use serde_json::{Value, json};
use std::collections::HashSet;

fn id(object: &Value, path: &str, field: &str, errors: &mut Errors) {
    user_id(at(object, path), &format!("{field}.{path}"), errors);
}

/// Checks the id of a user or group: 0 to 2^31 − 1. A larger one would be another id, or none, for
/// the kernel.
pub(crate) fn user_id(id: &Value, field: &str, errors: &mut Errors) {
    if id.as_i64().is_some_and(|n| !(0..=i64::from(i32::MAX)).contains(&n)) {
        errors.invalid(field, id, "must be between 0 and 2147483647, inclusive");
    }
}

pub(super) fn pod(spec: &Value, field: &str, errors: &mut Errors) {
    let context = at(spec, "securityContext");
    let here = format!("{field}.securityContext");
    for path in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(context, path, &here, errors);
    }
    for (i, group) in list(context, "supplementalGroups").iter().enumerate() {
        user_id(group, &format!("{here}.supplementalGroups[{i}]"), errors);
    }
    if flag(spec, "shareProcessNamespace") && flag(spec, "hostPID") {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(format!("{here}.shareProcessNamespace"), &json!(true), why);
    }
    sysctls(spec, context, &format!("{here}.sysctls"), errors);
    let policy = |path: &str, known: [&str; 2], errors: &mut Errors| {
        one_of(context, path, &format!("{here}.{path}"), &known, errors);
    };
    policy("fsGroupChangePolicy", ["Always", "OnRootMismatch"], errors);
    seccomp_profile(context, &here, errors);
    windows::options(context, &here, errors);
    app_armor_profile(context, &here, errors);
    policy("supplementalGroupsPolicy", ["Merge", "Strict"], errors);
    policy("seLinuxChangePolicy", ["MountOption", "Recursive"], errors);
}

/// Checks what a pod says of the host's processes and users.
pub(super) fn host(spec: &Value, field: &str, errors: &mut Errors) {
    windows::host_process(spec, field, errors);
    host_users(spec, field, errors);
}

fn is_sysctl(name: &str) -> bool {
    let segment = |s: &str| {
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let b = s.as_bytes();
        !b.is_empty()
            && inner(b[0])
            && inner(b[b.len() - 1])
            && b.iter().all(|&c| inner(c) || c == b'-' || c == b'_')
    };
    name.len() <= 253 && name.split(['.', '/']).all(segment)
}

fn sysctls(spec: &Value, context: &Value, field: &str, errors: &mut Errors) {
    let mut seen: HashSet<&str> = HashSet::new();
    for (i, sysctl) in list(context, "sysctls").iter().enumerate() {
        let (name, place) = (text(sysctl, "name"), format!("{field}[{i}].name"));
        if name.is_empty() {
            errors.required(place, "");
            continue;
        }
        if !is_sysctl(name) {
            let why = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.invalid_text(&place, name, why);
        } else if seen.contains(&name) {
            errors.duplicate(&place, &json!(name));
        }
        let dotted = name.replace('/', ".");
        if flag(spec, "hostNetwork") && dotted.starts_with("net.") {
            errors.invalid_text(&place, name, "may not be specified when 'hostNetwork' is true");
        }
        let of_ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|p| dotted.starts_with(p));
        if flag(spec, "hostIPC") && (of_ipc || dotted == "kernel.sem") {
            errors.invalid_text(&place, name, "may not be specified when 'hostIPC' is true");
        }
        seen.insert(name);
    }
}

/// Checks the seccomp profile of a pod's or container's context.
fn seccomp_profile(context: &Value, field: &str, errors: &mut Errors) {
    profile(context, field, "seccompProfile", seccomp_file, errors);
}

/// Checks the AppArmor profile of a pod's or container's context.
fn app_armor_profile(context: &Value, field: &str, errors: &mut Errors) {
    profile(context, field, "appArmorProfile", app_armor_file, errors);
}

fn profile(
    context: &Value,
    field: &str,
    name: &str,
    check_file: fn(&Value, &str, &mut Errors),
    errors: &mut Errors,
) {
    let profile = at(context, name);
    if profile.is_null() {
        return;
    }
    let (here, known) = (format!("{field}.{name}"), ["Localhost", "RuntimeDefault", "Unconfined"]);
    match text(profile, "type") {
        "" => errors.required(format!("{here}.type"), &format!("type is required when {name} is set")),
        other if !known.contains(&other) => {
            errors.not_supported(format!("{here}.type"), &json!(other), &known);
        }
        _ => {}
    }
    check_file(profile, &format!("{here}.localhostProfile"), errors);
}

/// Checks the file of a seccomp profile, which only the type `Localhost` has.
fn seccomp_file(profile: &Value, field: &str, errors: &mut Errors) {
    let kind = text(profile, "type");
    match (kind, at(profile, "localhostProfile").as_str()) {
        ("Localhost", None) => errors.required(field, "must be set when seccomp type is Localhost"),
        ("Localhost", Some(path)) => descending(path, field, errors),
        (_, Some(path)) => {
            // Upstream shows the whole profile, whose internal type has capital letters.
            let shown = json!({"Type": kind, "LocalhostProfile": path});
            errors.invalid(field, &shown, "can only be set when seccomp type is Localhost");
        }
        (_, None) => {}
    }
}

/// Checks the name of an AppArmor profile of the node, which only the type `Localhost` has.
fn app_armor_file(profile: &Value, field: &str, errors: &mut Errors) {
    const PATH_MAX: usize = 4095;
    let file = at(profile, "localhostProfile");
    match (text(profile, "type"), file.as_str()) {
        ("Localhost", None | Some("")) => {
            errors.required(field, "must be set when AppArmor type is Localhost");
        }
        ("Localhost", Some(path)) => {
            if path.trim() != path {
                errors.invalid_text(field, path, "must not be padded with whitespace");
            }
            if path.len() > PATH_MAX {
                errors.too_long(field, PATH_MAX);
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(_)) => {
            errors.invalid(field, file, "can only be set when AppArmor type is Localhost");
        }
        _ => {}
    }
}

/// Checks that a pod with a user namespace of its own shares none of the host's others.
fn host_users(spec: &Value, field: &str, errors: &mut Errors) {
    if at(spec, "hostUsers") != &Value::Bool(false) {
        return;
    }
    for (path, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if flag(spec, path) {
            errors.forbidden(format!("{field}.{shown}"), "when `hostUsers` is false");
        }
    }
    for group in GROUPS {
        for (i, c) in list(spec, group).iter().enumerate() {
            if !list(c, "volumeDevices").is_empty() {
                errors.forbidden(format!("{field}.{group}[{i}].volumeDevices"), "when `hostUsers` is false");
            }
        }
    }
}

pub(super) fn container(c: &Value, field: &str, host_users: bool, errors: &mut Errors) {
    let context = at(c, "securityContext");
    if context.is_null() {
        return;
    }
    let here = format!("{field}.securityContext");
    for path in ["runAsUser", "runAsGroup"] {
        id(context, path, &here, errors);
    }
    one_of(context, "procMount", &format!("{here}.procMount"), &["Default", "Unmasked"], errors);
    if host_users && text(context, "procMount") == "Unmasked" {
        let why = "`hostUsers` must be false to use `Unmasked`";
        errors.invalid_text(format!("{here}.procMount"), "Unmasked", why);
    }
    seccomp_profile(context, &here, errors);
    if at(context, "allowPrivilegeEscalation") == &Value::Bool(false) {
        if flag(context, "privileged") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid(&here, context, why);
        }
        if list(context, "capabilities.add").iter().any(|c| c == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(&here, context, why);
        }
    }
    windows::options(context, &here, errors);
    app_armor_profile(context, &here, errors);
}

/// Checks that a pod sets no field of another operating system.
pub(super) fn os(spec: &Value, field: &str, errors: &mut Errors) {
    let os = at(spec, "os");
    if os.is_null() {
        return;
    }
    let windows = match text(os, "name") {
        "" => return errors.required(format!("{field}.os.name"), ""),
        "linux" => false,
        "windows" => true,
        other => return errors.not_supported(format!("{field}.os"), &json!(other), &["linux", "windows"]),
    };
    let forbid = |object: &Value, path: &str, place: &str, errors: &mut Errors| {
        let set = at(object, path);
        if !set.is_null() && (path != "sysctls" || set != &json!([])) {
            let why = if windows {
                "cannot be set for a windows pod"
            } else {
                "windows options cannot be set for a linux pod"
            };
            errors.forbidden(format!("{place}.{path}"), why);
        }
    };
    let (of_pod, of_container): (&[&str], &[&str]) = match windows {
        false => (&["windowsOptions"], &["windowsOptions"]),
        true => (
            &[
                "appArmorProfile",
                "seLinuxOptions",
                "seccompProfile",
                "fsGroup",
                "fsGroupChangePolicy",
                "sysctls",
                "runAsUser",
                "runAsGroup",
                "supplementalGroups",
                "supplementalGroupsPolicy",
                "seLinuxChangePolicy",
            ],
            &[
                "appArmorProfile",
                "seLinuxOptions",
                "seccompProfile",
                "capabilities",
                "readOnlyRootFilesystem",
                "privileged",
                "allowPrivilegeEscalation",
                "procMount",
                "runAsUser",
                "runAsGroup",
            ],
        ),
    };
    for path in of_pod {
        forbid(at(spec, "securityContext"), path, &format!("{field}.securityContext"), errors);
    }
    for path in ["hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"] {
        let set = at(spec, path) != &Value::Bool(false) || path == "hostUsers" || path.starts_with("share");
        if windows && set {
            forbid(spec, path, field, errors);
        }
    }
    for group in GROUPS {
        for (i, c) in list(spec, group).iter().enumerate() {
            let here = format!("{field}.{group}[{i}].securityContext");
            for path in of_container {
                forbid(at(c, "securityContext"), path, &here, errors);
            }
        }
    }
}

/// Returns whether a pod shares the host's user namespace, as it does by default.
pub(super) fn shares_users(spec: &Value) -> bool {
    at(spec, "hostUsers") != &Value::Bool(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_profile_of_the_node_has_a_file() {
        let errors_of = |name: &str, kind: &str| {
            let mut errors = Errors::default();
            let context = json!({name: {"type": kind, "localhostProfile": "f"}});
            seccomp_profile(&context, "c", &mut errors);
            app_armor_profile(&context, "c", &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let file = "c.seccompProfile.localhostProfile: Invalid value";
        let only = "can only be set when seccomp type is Localhost";
        let shown = |kind: &str| format!(r#"{file}: {{"Type":"{kind}","LocalhostProfile":"f"}}: {only}"#);
        assert_eq!(errors_of("seccompProfile", "Localhost"), [""; 0]);
        assert_eq!(errors_of("seccompProfile", "Unconfined"), [shown("Unconfined")]);
        let required = "c.seccompProfile.type: Required value: type is required when seccompProfile is set";
        assert_eq!(errors_of("seccompProfile", ""), [required.to_string(), shown("")]);
        assert_eq!(errors_of("appArmorProfile", "Localhost"), [""; 0]);
        let why = "can only be set when AppArmor type is Localhost";
        let field = "c.appArmorProfile.localhostProfile";
        assert_eq!(
            errors_of("appArmorProfile", "Unconfined"),
            [format!("{field}: Invalid value: \"f\": {why}")]
        );
        assert_eq!(errors_of("appArmorProfile", "").len(), 1, "the type alone is refused");
    }

    /// As `ValidatePodSpec` upstream.
    #[test]
    fn the_problems_of_a_pod_come_in_upstream_s_order() {
        let spec = json!({
            "priorityClassName": "A",
            "serviceAccountName": "A",
            "hostname": "A",
            "hostIPC": true,
            "hostUsers": false,
            "securityContext": {
                "supplementalGroupsPolicy": "A",
                "fsGroupChangePolicy": "A",
                "appArmorProfile": {"type": "Localhost"},
                "seccompProfile": {"type": "Localhost"},
                "windowsOptions": {"runAsUserName": ""},
            },
        });
        let mut errors = Errors::default();
        super::super::spec(&spec, "s", true, &mut errors);
        let want = [
            "s.securityContext.fsGroupChangePolicy",
            "s.securityContext.seccompProfile.localhostProfile",
            "s.securityContext.windowsOptions.runAsUserName",
            "s.securityContext.appArmorProfile.localhostProfile",
            "s.securityContext.supplementalGroupsPolicy",
            "s.HostIPC",
            "s.serviceAccountName",
            "s.hostname",
            "s.priorityClassName",
        ];
        let mut fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        fields.retain(|field| want.contains(field));
        assert_eq!(fields, want);
    }
}
