//! Aliases that the prompt does not use: lines that begin with their names stay kubectl's.

use super::Session;
use crate::line;
use lang::charset::eprintln;
use lang::texts;

texts! {
    enum Word {
        Kubectls: "A line that begins with `{}` is kubectl's at this prompt: your alias or function is not used. `!{} …` uses it", "이 프롬프트에서 `{}`로 시작하는 줄은 항상 kubectl 명령이라 방금 만든 별칭이나 함수를 쓰지 않습니다. 쓰려면 `!{} …`처럼 입력하세요";
    }
}

impl Session {
    /// Warns if a line makes an alias or a function that the prompt will not use, because lines
    /// that begin with its name are kubectl's. Without the warning `alias k='kubectl -n shop'`
    /// would seem to work, and `k delete pod web` would delete a pod of another namespace.
    pub(super) fn warn_of_unused_alias(&self, text: &str) {
        if let Some(told) = self.unused_alias(text) {
            eprintln!("{told}");
        }
    }

    /// Returns the warning about an alias or a function that a line makes in vain; `None`: it makes
    /// none.
    fn unused_alias(&self, text: &str) -> Option<String> {
        let name = line::made_in_vain(text)?;
        Some(self.lang().say(Word::Kubectls, &[&name, &name]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Manner;
    use crate::texts::Lang;
    use cluster::Home;

    #[test]
    fn an_alias_that_the_prompt_will_not_use_is_told_with_the_way_to_use_it() {
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let session = Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone());
        let told = session.unused_alias("alias k='kubectl -n shop'").unwrap_or_default();
        assert!(told.contains("`k`") && told.contains("`!k …`"), "{told}");
        assert_eq!(session.unused_alias("alias k=kubectl"), None);
    }
}
