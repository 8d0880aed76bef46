//! The languages, and a text in one of them.

use crate::typed;
use serde::{Deserialize, Serialize};

/// A language of the texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // clap prints comments of the values in `--help`, in English only
pub enum Lang {
    #[default]
    En,
    Ko,
}

/// An entry of a table of texts, see [`texts`](crate::texts).
pub trait Text: Copy {
    /// Returns the English and the Korean text. Each `{}` is the place of a value; the values have
    /// the same order in both.
    fn pair(self) -> (&'static str, &'static str);
}

impl Lang {
    /// Parses a choice (`1`, `2`), a language's name (`Korean`, `한국어`) or a locale (`ko`,
    /// `ko_KR.UTF-8`). Of a locale the whole language code counts: `kok_IN` is Konkani, not Korean.
    pub fn parse(text: &str) -> Option<Lang> {
        let text = text.trim().to_lowercase();
        match text.as_str() {
            "1" | "english" | "영어" => Some(Lang::En),
            "2" | "korean" | "한국어" => Some(Lang::Ko),
            _ => match text.split(['_', '-', '.', '@']).next() {
                Some("en" | "eng") => Some(Lang::En),
                Some("ko" | "kor") => Some(Lang::Ko),
                _ => None,
            },
        }
    }

    /// Returns the text in this language, with the values in the places of its `{}`. A place
    /// without a value stays empty; a `{}` in a value is no place. Commands of the prompt, which
    /// the text has in backticks, are written as they are typed where the reader is ([`typed`]);
    /// backticks in a value mark none.
    pub fn say(self, text: impl Text, with: &[&str]) -> String {
        self.say_to(typed::is_in_shell(), text, with)
    }

    /// Returns what [`say`](Lang::say) does, for a reader in a shell or at the prompt.
    fn say_to(self, in_shell: bool, text: impl Text, with: &[&str]) -> String {
        let (english, korean) = text.pair();
        let text = if self == Lang::Ko { korean } else { english };
        let mut values = with.iter();
        if !in_shell {
            return filled(text, &mut values);
        }
        typed::with_commands(text, |part, is_command| {
            let part = filled(part, &mut values);
            if is_command { typed::command(&part, typed::cluster()) } else { part }
        })
    }
}

/// Returns a text with the next values in its places.
fn filled(text: &str, values: &mut std::slice::Iter<'_, &str>) -> String {
    let mut parts = text.split("{}");
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        out.push_str(values.next().unwrap_or(&""));
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_goes_to_its_place_in_both_languages() {
        #[derive(Clone, Copy)]
        struct Runs;
        impl Text for Runs {
            fn pair(self) -> (&'static str, &'static str) {
                ("{} runs on {}", "{}: {}에서 실행됩니다")
            }
        }
        assert_eq!(Lang::En.say(Runs, &["pod {}", "node1"]), "pod {} runs on node1");
        assert_eq!(Lang::Ko.say(Runs, &["파드", "node1"]), "파드: node1에서 실행됩니다");
        assert_eq!(Lang::En.say(Runs, &["web"]), "web runs on ");
        assert_eq!(Lang::En.say(Runs, &["web", "node1", "more"]), "web runs on node1");
    }

    /// A value may be a whole command, and one with backticks is another person's text.
    #[test]
    fn a_reader_in_a_shell_gets_commands_of_a_shell() {
        #[derive(Clone, Copy)]
        struct Advice;
        impl Text for Advice {
            fn pair(self) -> (&'static str, &'static str) {
                ("{}: `goto {}` or `{}`; see {}", "{}: `goto {}` 또는 `{}`. {} 참고")
            }
        }
        let with = ["`next`", "4", "lesson x", "here"];
        let say = |lang: Lang, in_shell| lang.say_to(in_shell, Advice, &with);
        assert_eq!(say(Lang::En, false), "`next`: `goto 4` or `lesson x`; see here");
        assert_eq!(say(Lang::Ko, false), Lang::Ko.say(Advice, &with), "at the prompt");
        let english = "`next`: `ropewalk repl -c 'goto 4'` or `ropewalk learn x`; see here";
        assert_eq!(say(Lang::En, true), english);
        let korean = "`next`: `ropewalk repl -c 'goto 4'` 또는 `ropewalk learn x`. here 참고";
        assert_eq!(say(Lang::Ko, true), korean);
    }

    #[test]
    fn languages_are_recognised_from_what_people_and_environments_say() {
        assert_eq!(Lang::parse("ko_KR.UTF-8"), Some(Lang::Ko));
        assert_eq!(Lang::parse(" EN "), Some(Lang::En));
        assert_eq!(Lang::parse("2"), Some(Lang::Ko));
        assert_eq!(Lang::parse("C.UTF-8"), None);
        assert_eq!(Lang::parse("ko-KR"), Some(Lang::Ko));
        assert_eq!(Lang::parse("en_GB@euro"), Some(Lang::En));
        assert_eq!(Lang::parse("kok_IN.UTF-8"), None, "Konkani");
        assert_eq!(Lang::parse("enm"), None, "Middle English");
    }
}
