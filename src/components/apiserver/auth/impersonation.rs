//! Impersonation: a user who may do so asks to be taken for another one (`kubectl --as`). Source:
//! `apiserver/pkg/endpoints/filters/impersonation`.

use crate::auth::attributes::Attributes;
use crate::auth::user::{AUTHENTICATED, UNAUTHENTICATED, User};
use crate::request::http::identity;
use crate::state::State;
use api::Status;
use http::{HeaderMap, HeaderName};

/// Adds the group that an impersonated user has by default, as upstream's impersonation filter
/// does: `system:unauthenticated` for the anonymous user; for others `system:authenticated`, unless
/// the request names one of the two.
fn add_default_group(user: &mut User) {
    let default = if user.name == "system:anonymous" { UNAUTHENTICATED } else { AUTHENTICATED };
    let named = user.is_in(UNAUTHENTICATED) || default == AUTHENTICATED && user.is_in(AUTHENTICATED);
    if !named {
        user.groups.push(default.into());
    }
}

/// The prefix of the headers with an impersonated user's extra attributes.
const EXTRA: &str = "impersonate-extra-";

/// Takes the extra attributes of an impersonated user out: they are for this server, not for the
/// kubelet behind it. The other headers of an impersonation have names that are known.
pub(crate) fn without_impersonation(headers: &mut HeaderMap) {
    let extra: Vec<HeaderName> = headers.keys().filter(|k| k.as_str().starts_with(EXTRA)).cloned().collect();
    for name in extra {
        headers.remove(name);
    }
}

/// Returns the key of an extra attribute from the name of its header, which is in lower case:
/// encoded bytes keep their case. Where a `%` encodes nothing, the whole name is the key (upstream:
/// `unescapeExtraKey`).
///
/// Example: `example.com%2f%54eam` is the key `example.com/Team`.
fn extra_key(name: &str) -> String {
    let is_encoding = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    match name.split('%').skip(1).all(is_encoding) {
        true => percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned(),
        false => name.to_string(),
    }
}

/// Writes what a request wants to be taken for beside a user, as Go writes upstream's object
/// references: kind, namespace, name, uid, version, resource version and field path.
///
/// Example: `[{Group  devs    } {UID  7  authentication.k8s.io/v1  }]`.
fn requested(groups: &[String], extra: &[(String, String)], uid: &str) -> String {
    const VERSION: &str = "authentication.k8s.io/v1";
    let groups = groups.iter().map(|group| format!("{{Group  {group}    }}"));
    let extra = extra.iter().map(|(key, value)| format!("{{UserExtra  {value}  {VERSION}  {key}}}"));
    let uid = (!uid.is_empty()).then(|| format!("{{UID  {uid}  {VERSION}  }}"));
    format!("[{}]", groups.chain(extra).chain(uid).collect::<Vec<_>>().join(" "))
}

/// Returns the user that the request wants to be taken for, if the caller may. As upstream, the
/// extra attributes are judged before the uid.
pub(super) fn impersonate(state: &State, caller: User, headers: &HeaderMap) -> Result<User, Status> {
    let one = |name: &str| headers.get(name).map_or(Ok(""), |value| identity(name, value));
    let name = one("impersonate-user")?;
    let groups = headers.get_all("impersonate-group").iter();
    let groups: Vec<String> =
        groups.map(|v| identity("impersonate-group", v).map(String::from)).collect::<Result<_, _>>()?;
    let uid = one("impersonate-uid")?;
    let mut extra: Vec<(String, String)> = vec![];
    for (key, value) in headers {
        if let Some(key) = key.as_str().strip_prefix(EXTRA) {
            extra.push((extra_key(key), identity("impersonate-extra", value)?.to_string()));
        }
    }
    if name.is_empty() {
        if groups.is_empty() && uid.is_empty() && extra.is_empty() {
            return Ok(caller);
        }
        let requested = requested(&groups, &extra, uid);
        return Err(Status::bad_request(format!("requested {requested} without impersonating a user")));
    }
    let authorize = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        let attributes = Attributes {
            verb: "impersonate",
            group,
            resource,
            subresource,
            namespace,
            name,
            ..Attributes::RESOURCE
        };
        match state.authorize(&caller, &attributes) {
            Ok(()) => Ok(()),
            Err(reason) => Err(attributes.forbidden(&caller, &reason)),
        }
    };
    let mut user = match User::split_service_account(name) {
        Some((namespace, account)) => {
            authorize("", "serviceaccounts", "", namespace, account)?;
            let mut user = User::service_account(namespace, account);
            if !groups.is_empty() {
                user.groups.clear();
            }
            user
        }
        None => {
            authorize("", "users", "", "", name)?;
            User { name: name.to_string(), ..User::default() }
        }
    };
    for group in groups {
        authorize("", "groups", "", "", &group)?;
        user.groups.push(group);
    }
    add_default_group(&mut user);
    for (key, value) in extra {
        authorize("authentication.k8s.io", "userextras", &key, "", &value)?;
        user.extra.entry(key).or_default().push(value);
    }
    if !uid.is_empty() {
        authorize("authentication.k8s.io", "uids", "", "", uid)?;
        user.uid = uid.to_string();
    }
    user.impersonator = caller.name;
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impersonated_users_get_the_default_group_that_upstream_gives() {
        for (name, groups, wanted) in [
            ("jane", vec![], vec![AUTHENTICATED]),
            ("jane", vec!["devs"], vec!["devs", AUTHENTICATED]),
            ("jane", vec![AUTHENTICATED], vec![AUTHENTICATED]),
            ("jane", vec![UNAUTHENTICATED], vec![UNAUTHENTICATED]),
            ("system:anonymous", vec![], vec![UNAUTHENTICATED]),
            ("system:anonymous", vec![UNAUTHENTICATED], vec![UNAUTHENTICATED]),
        ] {
            let groups: Vec<String> = groups.into_iter().map(String::from).collect();
            let mut user = User { name: name.into(), groups: groups.clone(), ..User::default() };
            add_default_group(&mut user);
            assert_eq!(user.groups, wanted, "{name} {groups:?}");
        }
    }

    #[test]
    fn extra_attributes_are_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("impersonate-extra-a", "b"), ("impersonate-extra-c%2Fd", "e"), ("accept", "f")]
        {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        without_impersonation(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }
}
