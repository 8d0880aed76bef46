//! Windows options in security contexts. No node of Ropewalk honours them, but the API judges them
//! as upstream does.

use super::lists::GROUPS;
use crate::errors::Errors;
use crate::value::{at, flag, list};
use serde_json::{Value, json};

const MAX_CREDENTIALS: usize = 64 * 1024;
const MAX_DOMAIN: usize = 256;
const MAX_USER: usize = 104;

/// Checks the options of the security context at `field`
/// (`validateWindowsSecurityContextOptions` upstream).
pub(super) fn options(context: &Value, field: &str, errors: &mut Errors) {
    let options = at(context, "windowsOptions");
    let place = |name: &str| format!("{field}.windowsOptions.{name}");
    let option = |name: &str| at(options, name).as_str();
    const NAME: &str = "gmsaCredentialSpecName";
    if let Some(name) = option(NAME) {
        for problem in crate::validate::names::dns_subdomain(name) {
            errors.invalid_text(place(NAME), name, &problem);
        }
    }
    const CREDENTIALS: &str = "gmsaCredentialSpec";
    if let Some(credentials) = option(CREDENTIALS) {
        let why = match credentials.len() {
            0 => "gmsaCredentialSpec cannot be an empty string",
            length if length > MAX_CREDENTIALS => "gmsaCredentialSpec size must be under 64 KiB",
            _ => "",
        };
        if !why.is_empty() {
            errors.invalid_text(place(CREDENTIALS), credentials, why);
        }
    }
    if let Some(user) = option("runAsUserName") {
        for problem in user_name(user) {
            errors.invalid_text(place("runAsUserName"), user, problem);
        }
    }
}

/// Returns what is wrong with the name of a Windows user, which may be in a domain.
fn user_name(name: &str) -> Vec<&'static str> {
    if name.is_empty() {
        return vec!["runAsUserName cannot be an empty string"];
    }
    if name.chars().any(|c| c.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters"];
    }
    let parts: Vec<&str> = name.split('\\').collect();
    let (domain, user) = match parts[..] {
        [user] => (None, user),
        [domain, user] => (Some(domain), user),
        _ => return vec!["runAsUserName cannot contain more than one backslash"],
    };
    let mut problems = Vec::new();
    if domain.is_some_and(|domain| domain.len() >= MAX_DOMAIN) {
        problems.push("runAsUserName's Domain length must be under 256 characters");
    }
    if domain.is_some_and(|domain| !is_net_bios(domain) && !is_dns(domain)) {
        problems.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
    }
    if user.is_empty() {
        problems.push("runAsUserName's User cannot be empty");
    } else if user.len() > MAX_USER {
        problems.push("runAsUserName's User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        problems.push("runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        problems.push(r#"runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]"#);
    }
    problems
}

fn is_net_bios(domain: &str) -> bool {
    !domain.starts_with('.')
        && (1..=15).contains(&domain.chars().count())
        && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|'])
}

/// Returns whether a domain is a DNS name, in which the case of letters does not count.
fn is_dns(domain: &str) -> bool {
    domain.split('.').all(|label| {
        let (is_first, is_last) = (
            label.starts_with(|c: char| c.is_ascii_alphanumeric()),
            label.ends_with(|c: char| c.is_ascii_alphanumeric()),
        );
        is_first
            && is_last
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

/// Checks that of the containers of a pod all or none are processes of the host, and that such a
/// pod is in the host's network (`validateWindowsHostProcessPod` upstream).
pub(super) fn host_process(spec: &Value, field: &str, errors: &mut Errors) {
    const OPTION: &str = "securityContext.windowsOptions.hostProcess";
    let of_pod = at(spec, OPTION).as_bool();
    let (mut all, mut on_host) = (0, 0);
    for group in GROUPS {
        for (i, c) in list(spec, group).iter().enumerate() {
            let own = at(c, OPTION).as_bool();
            if let (Some(whole), Some(part)) = (of_pod, own)
                && whole != part
            {
                let why =
                    format!("pod hostProcess value must be identical if both are specified, was {whole}");
                errors.invalid(format!("{field}.{group}[{i}].{OPTION}"), &json!(part), &why);
            }
            all += 1;
            on_host += usize::from(own.or(of_pod) == Some(true));
        }
    }
    if on_host == 0 {
        return;
    }
    if on_host != all {
        let why =
            "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.invalid_text(field, "", why);
    }
    if !flag(spec, "hostNetwork") {
        let why = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.invalid(format!("{field}.hostNetwork"), &json!(false), why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_their_domains_are_those_of_windows() {
        for good in ["Administrator", r"NT AUTHORITY\SYSTEM", r"corp.Example.com\web", r"a b\c d", "ü"] {
            assert_eq!(user_name(good), [""; 0], "{good}");
        }
        for (bad, why) in [
            ("", "cannot be an empty string"),
            ("a\tb", "control characters"),
            (r"a\b\c", "more than one backslash"),
            (r"\web", "NetBios nor the DNS"),
            (r".corp\web", "NetBios nor the DNS"),
            (r"-a.very-long.example\web", "NetBios nor the DNS"),
            (r"corp\", "User cannot be empty"),
            (". .", "only periods or spaces"),
            ("a@b", "the following characters"),
        ] {
            let problems = user_name(bad);
            assert!(problems.len() == 1 && problems[0].contains(why), "{bad}: {problems:?}");
        }
        let long = |domain: usize, user: usize| {
            let labels = "a.".repeat(domain / 2 - 1) + "ab";
            user_name(&format!("{labels}\\{}", "u".repeat(user))).len()
        };
        assert_eq!((long(254, 104), long(256, 104), long(254, 105)), (0, 1, 1));
    }

    #[test]
    fn options_of_pods_and_containers_are_judged() {
        let errors_of = |windows: Value| {
            let mut errors = Errors::default();
            options(&json!({"windowsOptions": windows}), "spec.securityContext", &mut errors);
            errors.iter().map(|error| error.field.clone()).collect::<Vec<_>>()
        };
        assert_eq!(errors_of(json!({"gmsaCredentialSpecName": "web", "gmsaCredentialSpec": "{}"})), [""; 0]);
        let here = "spec.securityContext.windowsOptions";
        let credentials = format!("{here}.gmsaCredentialSpec");
        assert_eq!(errors_of(json!({"gmsaCredentialSpec": ""})), [credentials.as_str()]);
        let size = |bytes: usize| errors_of(json!({"gmsaCredentialSpec": "x".repeat(bytes)})).len();
        assert_eq!((size(MAX_CREDENTIALS), size(MAX_CREDENTIALS + 1)), (0, 1));
        let bad = json!({"gmsaCredentialSpecName": "W", "runAsUserName": ""});
        assert_eq!(
            errors_of(bad),
            [format!("{here}.gmsaCredentialSpecName"), format!("{here}.runAsUserName")]
        );
    }

    #[test]
    fn all_containers_are_processes_of_the_host_or_none() {
        let context = |host: Value| json!({"windowsOptions": {"hostProcess": host}});
        let errors_of = |pod: Value, own: Value, other: Value, network: bool| {
            let spec = json!({"securityContext": context(pod), "hostNetwork": network, "containers": [
                {"name": "a", "securityContext": context(own)}, {"name": "b", "securityContext": context(other)}]});
            let mut errors = Errors::default();
            host_process(&spec, "spec", &mut errors);
            errors.iter().map(|error| error.field.clone()).collect::<Vec<_>>()
        };
        let (yes, no) = (json!(true), json!(false));
        assert_eq!(errors_of(yes.clone(), Value::Null, yes.clone(), true), [""; 0]);
        assert_eq!(errors_of(no.clone(), Value::Null, no.clone(), false), [""; 0]);
        assert_eq!(errors_of(yes.clone(), Value::Null, Value::Null, false), ["spec.hostNetwork"]);
        assert_eq!(errors_of(Value::Null, yes.clone(), no.clone(), true), ["spec"]);
        let own = "spec.containers[1].securityContext.windowsOptions.hostProcess";
        assert_eq!(errors_of(yes.clone(), yes, no, true), [own, "spec"]);
    }

    #[test]
    fn a_pod_is_judged_by_its_windows_options() {
        let kind = crate::kinds::find("", "v1", "Pod").unwrap();
        let bad = json!({"windowsOptions": {"runAsUserName": ""}});
        let spec = json!({"securityContext": bad, "containers": [
            {"name": "c", "image": "x", "securityContext": bad}]});
        let mut errors = Errors::default();
        (kind.validate)(&json!({"spec": spec}), &mut errors);
        let found = errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>();
        let field = "securityContext.windowsOptions.runAsUserName";
        assert_eq!(found, [format!("spec.containers[0].{field}"), format!("spec.{field}")]);
    }
}
