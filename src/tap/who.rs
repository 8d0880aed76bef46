//! Who is behind a request, as far as the user's name tells.

/// The person at the keyboard: the user of the cluster's kubeconfig.
pub const LEARNER: &str = "learner";
/// Sets lessons and labs up and judges them. What it does is never taken for the learner's doing.
pub const TEACHER: &str = "teacher";
/// The cluster's own keeper: makes what a fresh cluster has, and keeps it.
pub const KEEPER: &str = "kubernetes-admin";

/// Somebody whose acts count as a person's and can be undone: neither a component nor a service account (`system:…`), nor
/// the keeper, nor the teacher.
pub fn is_person(user: &str) -> bool {
    !user.is_empty() && !user.starts_with("system:") && user != TEACHER && user != KEEPER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_the_keeper_and_the_teacher_are_no_persons() {
        assert!(is_person(LEARNER) && is_person("jane"));
        for other in ["", TEACHER, KEEPER, "system:node:n", "system:serviceaccount:default:default"] {
            assert!(!is_person(other), "{other}");
        }
    }
}
