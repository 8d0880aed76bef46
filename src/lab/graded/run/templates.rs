//! Texts of the open lab that have expressions in them.

use crate::cel::{Template, Use};
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::Arc;

/// Texts of the open lab with expressions in them, each compiled once: a thread of its own reads
/// every expression.
#[derive(Default)]
pub(super) struct Templates(Mutex<HashMap<String, Option<Arc<Template>>>>);

impl Templates {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Option<Arc<Template>>>> {
        self.0.lock()
    }

    /// The compiled text; `None` if it does not compile.
    pub(super) fn get(&self, text: &str) -> Option<Arc<Template>> {
        if let Some(known) = self.known().get(text) {
            return known.clone();
        }
        let compiled = Template::compile(text, Use::Hint, &[]).ok().map(Arc::new);
        self.known().entry(text.into()).or_insert(compiled).clone()
    }

    /// Forgets the texts of the lab that was open.
    pub(super) fn clear(&self) {
        self.known().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_compiled_once() {
        let templates = Templates::default();
        let text = "${size(objects('Pod', 'shop'))} pods";
        let (first, again) = (templates.get(text).unwrap(), templates.get(text).unwrap());
        assert!(Arc::ptr_eq(&first, &again));
        assert!(templates.get("${").is_none() && templates.known().len() == 2);
        templates.clear();
        assert!(templates.known().is_empty());
    }
}
