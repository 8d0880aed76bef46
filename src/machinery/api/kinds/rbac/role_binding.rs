//! Role bindings: grant a role to users, groups and service accounts within one namespace.

use crate::kinds::entry::{Kind, of};
use crate::kinds::rbac::bindings;
use crate::validate::names::path_segment;
use k8s_openapi::api::rbac::v1::RoleBinding;

pub(super) fn kind() -> Kind {
    Kind {
        create_on_update: true,
        name_rule: path_segment,
        defaults: bindings::defaults,
        validate: bindings::validate,
        validate_update: bindings::validate_update,
        printer: Some(&bindings::PRINTER),
        ..of::<RoleBinding>()
    }
}
