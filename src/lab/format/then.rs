//! `then:` of a lesson: what a learner does without guidance once the lesson is finished.

use super::compiler::Compiler;
use super::raw;
use crate::graded::read::Labs;
use crate::practice::table::SkillTable;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a learner does alone once a lesson is finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Then {
    /// A graded lab, by its id.
    Lab(String),
    /// A drill of these skills, by their ids.
    Drill(Vec<String>),
}

impl Then {
    /// Returns the line that a learner types for it.
    pub fn command(&self) -> String {
        match self {
            Then::Lab(id) => format!("lab start {id}"),
            Then::Drill(skills) => format!("drill --skill {}", skills.join(",")),
        }
    }

    /// Reads what the front matter says, and notes names that nothing has.
    pub(super) fn read(on: &mut Compiler<'_>, raw: Option<raw::Then>) -> Option<Then> {
        let raw = raw?;
        let then = match (raw.lab, raw.drill.is_empty()) {
            (Some(lab), true) => Then::Lab(lab),
            (None, false) => Then::Drill(raw.drill),
            _ => {
                on.fault("then:", "then: name either a lab or the skills of a drill".into());
                return None;
            }
        };
        if let Some(what) = then.odd(on.file) {
            on.fault("then:", what);
        }
        Some(then)
    }

    /// What is wrong with its names, if anything is. `file`: of the lesson.
    fn odd(&self, file: &Path) -> Option<String> {
        match self {
            Then::Lab(id) => (!Labs::is_known(id, file))
                .then(|| format!("then: there is no lab {id:?}; `lab list` shows their ids")),
            Then::Drill(skills) => {
                let table = SkillTable::built_in();
                let unknown = skills.iter().find(|id| table.skill(id).is_none())?;
                Some(format!("then: there is no skill {unknown:?}; `progress -o json` lists their ids"))
            }
        }
    }
}
