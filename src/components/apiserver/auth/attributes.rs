//! The attributes of a request that an authorizer decides by.

use crate::auth::user::User;
use crate::request::info::Info;
use api::Status;
use api::status::{details, qualified};
use serde_json::json;

/// What is to be done.
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

    /// A WebSocket begins with a GET, whatever is done over it: who may only look may not open one
    /// (KEP-4006, on since 1.35).
    pub(crate) fn opens_stream(&self) -> bool {
        let streams = matches!(self.subresource, "exec" | "attach" | "portforward");
        self.verb == "get" && self.group.is_empty() && self.resource == "pods" && streams
    }

    pub(crate) fn full_resource(&self) -> String {
        match self.subresource {
            "" => self.resource.to_string(),
            sub => format!("{}/{sub}", self.resource),
        }
    }

    /// Returns the 403 for a user who is not allowed to do this.
    pub(crate) fn forbidden(&self, user: &User, reason: &str) -> Status {
        let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        if !self.is_resource {
            let message =
                format!("forbidden: User {:?} cannot {} path {:?}{because}", user.name, self.verb, self.path);
            return Status::new(403, "Forbidden", message).with(json!({}));
        }
        let place = match self.namespace {
            "" => "at the cluster scope".to_string(),
            _ if self.resource == "namespaces" && self.name == self.namespace => {
                format!("in the namespace {:?}", self.namespace)
            }
            namespace => format!("in the namespace {namespace:?}"),
        };
        let what = qualified(self.group, self.resource);
        let head = if self.name.is_empty() { what } else { format!("{what} {:?}", self.name) };
        let message = format!(
            "{head} is forbidden: User {:?} cannot {} resource {:?} in API group {:?} {place}{because}",
            user.name,
            self.verb,
            self.full_resource(),
            self.group
        );
        Status::new(403, "Forbidden", message).with(details(self.group, self.resource, self.name))
    }
}
