//! Labs of a declared cluster: where one is played, and what was done there.

use super::LabRun;
use crate::graded::book::Book;
use crate::graded::words::{self, Word};
use crate::view::Elsewhere;
use serde_json::Value;

impl LabRun {
    /// The cluster on which a lab is played, if it is another than this one.
    pub(super) fn elsewhere(&self, id: &str, seed: Option<u64>) -> Option<Elsewhere> {
        let (lab, offers) = (self.labs.get(id)?, self.host.offers());
        let cluster = lab.cluster.clone().filter(|cluster| offers.own && !cluster.fits(&offers))?;
        Some(Elsewhere { id: lab.id.clone(), cluster, lab: true, seed })
    }

    /// Takes in the attempts that were made on a declared cluster.
    ///
    /// # Errors
    /// The file was not sealed with the key that this cluster had lent, or the attempts cannot be
    /// kept.
    pub(super) async fn learn(&self, there: &Value, lang: &str) -> Result<Value, String> {
        let sealed = Book::of_sealed(there, &self.key);
        let there = sealed.ok_or_else(|| words::say(lang, Word::NotSealed, &[]))?;
        let not_kept = |why: String| words::say(lang, Word::NotKept, &[&why]);
        let before = self.book().clone();
        self.book().learn(there);
        if let Err(why) = self.save() {
            *self.book() = before;
            return Err(not_kept(why));
        }
        self.anchor().await.map_err(not_kept)?;
        Ok(Value::Null)
    }
}
