//! The attributes of a request that an authorizer decides by.

use crate::auth::user::User;
use crate::request::info::Info;
use api::Status;
use api::gostr::quote;
use api::status::{details, qualified};
use serde_json::json;

/// The attributes of one request (upstream: `authorizer.Attributes`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    /// The node that a list or watch of pods is limited to.
    pub on_node: &'a str,
    pub path: &'a str,
    pub is_resource: bool,
}

impl<'a> Attributes<'a> {
    /// A question about a resource that names nothing yet: `Attributes { verb,
    /// ..Attributes::RESOURCE }`.
    pub(crate) const RESOURCE: Attributes<'static> = Attributes {
        verb: "",
        group: "",
        resource: "",
        subresource: "",
        namespace: "",
        name: "",
        on_node: "",
        path: "",
        is_resource: true,
    };

    /// Makes a question about a path that is no resource, as `/metrics`.
    pub(crate) fn of_path(verb: &'a str, path: &'a str) -> Attributes<'a> {
        Attributes { verb, path, is_resource: false, ..Attributes::RESOURCE }
    }

    /// Returns the attributes of a request.
    pub(crate) fn of(info: &'a Info) -> Attributes<'a> {
        Attributes {
            verb: &info.verb,
            group: &info.group,
            resource: &info.resource,
            subresource: &info.subresource,
            namespace: &info.namespace,
            name: &info.name,
            on_node: &info.on_node,
            path: &info.path,
            is_resource: info.is_resource,
        }
    }

    /// Returns whether the request opens a session to a pod by a GET, as a WebSocket does. It needs
    /// the right to create as well: a user who may only read must not run commands (KEP-4006, on
    /// since 1.35).
    pub(crate) fn opens_stream(&self) -> bool {
        let streams = matches!(self.subresource, "exec" | "attach" | "portforward");
        self.verb == "get" && self.group.is_empty() && self.resource == "pods" && streams
    }

    /// Returns resource and subresource as a rule writes them: `pods/log`.
    pub(crate) fn full_resource(&self) -> String {
        match self.subresource {
            "" => self.resource.to_string(),
            sub => format!("{}/{sub}", self.resource),
        }
    }

    /// Returns the 403 for a user who is not allowed to do this. What the client has chosen is
    /// escaped for HTML, as upstream: a browser may show the message.
    pub(crate) fn forbidden(&self, user: &User, reason: &str) -> Status {
        let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let (user, verb) = (quote(&user.name), self.verb);
        if !self.is_resource {
            let what = escape_html(&format!("User {user} cannot {verb} path {}", quote(self.path)));
            return Status::new(403, "Forbidden", format!("forbidden: {what}{because}")).with(json!({}));
        }
        let place = match self.namespace {
            "" => "at the cluster scope".to_string(),
            namespace => format!("in the namespace {}", quote(namespace)),
        };
        let (resource, group) = (quote(&self.full_resource()), quote(self.group));
        let what = format!("User {user} cannot {verb} resource {resource} in API group {group} {place}");
        let kind = qualified(self.group, self.resource);
        let head = if self.name.is_empty() { kind } else { format!("{kind} {}", quote(self.name)) };
        let message = format!("{head} is forbidden: {}{because}", escape_html(&what));
        Status::new(403, "Forbidden", message).with(details(self.group, self.resource, self.name))
    }
}

/// Escapes what begins a tag or an entity of HTML (upstream: `sanitizer` of
/// `handlers/responsewriters/errors.go`).
fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_quotes_names_as_go_does_and_holds_no_html() {
        let user = User { name: "a<b>&\u{200b}".into(), ..User::default() };
        let pods = Attributes {
            verb: "get",
            resource: "pods",
            subresource: "log",
            namespace: "shop",
            name: "web",
            ..Attributes::RESOURCE
        };
        let message = r#"pods "web" is forbidden: User "a&lt;b&gt;&amp;\u200b" cannot get resource "pods/log" in API group "" in the namespace "shop": why <"#;
        assert_eq!(pods.forbidden(&user, "why <").message, message);
        let nodes = Attributes { resource: "nodes", subresource: "", namespace: "", name: "", ..pods };
        let message = r#"nodes is forbidden: User "eve" cannot get resource "nodes" in API group "" at the cluster scope"#;
        assert_eq!(nodes.forbidden(&User::new("eve", &[]), "").message, message);
        let page = Attributes { path: "/a&b", is_resource: false, ..nodes };
        let refused = page.forbidden(&User::new("eve", &[]), "");
        assert_eq!(refused.message, r#"forbidden: User "eve" cannot get path "/a&amp;b""#);
    }
}
