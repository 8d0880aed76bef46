//! What labs say to people, in every language.

use super::score::Red;
use crate::format::{EN, Text};
use crate::observe::who::Meddling;
use lang::{Lang, texts};
use std::collections::BTreeSet;

/// A sentence names so many components at most.
const NAMED_MAX: usize = 5;

texts! {
    /// Sentences; `{}` stands for what is filled in.
    pub enum Word {
    Busy: "another lab command is at work; wait for it", "다른 실습 명령이 실행 중입니다. 끝날 때까지 기다리세요";
    NoSuchLab: "there is no lab {}; `ropewalk lab list` shows them", "{} 실습은 없습니다. `ropewalk lab list`로 목록을 볼 수 있습니다";
    NoneOpen: "no lab is open; `ropewalk lab start ID` starts one", "열려 있는 실습이 없습니다. `ropewalk lab start ID`로 시작하세요";
    OtherOpen: "the open lab is {} with seed {}", "열려 있는 실습은 {} (시드 {}) 입니다";
    DrillOpen: "a drill is open, and a lab would disturb it; finish it, or end it with `drill stop`", "연습이 진행 중이어서 실습을 시작할 수 없습니다. 연습을 마치거나 `drill stop`으로 끝내세요";
    NotSetUp: "the lab {} was not set up to the end; start it again", "{} 실습이 끝까지 준비되지 않았습니다. 다시 시작하세요";
    Lacks: "this cluster cannot do this lab: it needs {}", "이 클러스터에서는 이 실습을 할 수 없습니다. 필요한 것: {}";
    Gone: "the open lab {} is not among the labs here, or cannot be read; `ropewalk lab list` says what is wrong with it", "열려 있는 {} 실습이 목록에 없거나 읽을 수 없습니다. `ropewalk lab list`로 원인을 확인하세요";
    NotKept: "this cannot be written down, and so it is not done: {}", "기록할 수 없어서 실행하지 않았습니다: {}";
    NoTakeUp: "the lab {} cannot go on after the restart yet: {}; ask again, or start it anew", "재시작한 뒤 {} 실습을 아직 이어 갈 수 없습니다: {}. 다시 시도하거나 실습을 새로 시작하세요";
    Meddled: "something was changed by hand during grading, which watches whether the cluster recovers by itself; the change was taken back, so grade once more", "스스로 복구되는지 채점하는 동안 직접 바꾼 것이 있어 되돌렸습니다. 다시 채점하세요";
    BreaksAgain: "after the restart, the faults of the lab {} are being set again; ask again in a minute", "재시작한 뒤 {} 실습의 고장을 다시 일으키는 중입니다. 1분쯤 뒤에 다시 시도하세요";
    SetupFailed: "the lab could not be set up: {}", "실습을 준비하지 못했습니다: {}";
    NotReady: "the lab was set up, but what it is about does not show; start it again", "실습을 준비했지만 고장이 나타나지 않습니다. 다시 시작하세요";
    NoReset: "the cluster cannot be put back to what it was before the lab {}: {}; `ropewalk reset` begins anew", "클러스터를 {} 실습 이전으로 되돌릴 수 없습니다: {}. `ropewalk reset`으로 처음부터 시작할 수 있습니다";
    BaseGone: "the lab {} cannot go on: the store no longer has the history from before the lab; `ropewalk lab leave` ends it and deletes what it made", "{} 실습을 이어 갈 수 없습니다. 저장소에 실습 이전의 기록이 남아 있지 않습니다. `ropewalk lab leave`로 실습을 끝내면 실습이 만든 것이 삭제됩니다";
    PartsGone: "This lab builds on something that is gone: {}. `undo` takes back what removed it, and is noted in the record; `ropewalk lab start {} --seed {}` sets the lab up anew.", "이 실습에 필요한 오브젝트가 없어졌습니다: {}. `undo`로 되돌리거나(채점 기록에 남습니다) `ropewalk lab start {} --seed {}` 명령으로 실습을 처음부터 다시 준비하세요.";
    Cleared: "The store no longer had the state from before the lab, so these were deleted instead: {}", "실습 이전의 상태가 저장소에 남아 있지 않아 대신 다음을 삭제했습니다: {}";
    Stays: "Changes outside the lab's namespaces are not taken back. What was there before the lab and was changed since: {}", "실습 네임스페이스 밖에서 바꾼 것은 되돌리지 않습니다. 실습 전부터 있었고 그 뒤에 바뀐 오브젝트: {}";
    InTheWay: "this lab makes {}, which is there already and is not the lab's; delete it, or choose other names with --seed", "이 실습에서 만들 {} 오브젝트가 이미 있습니다. 실습에서 만든 것이 아니므로 먼저 삭제하거나 --seed로 다른 이름을 고르세요";
    OnlyWith: "it was so from the beginning, so it counts only together with this task: {}", "처음부터 그런 상태였으므로 다음 과제도 함께 해결해야 인정됩니다: {}";
    ByExec: "a command was run in a container of the lab, which this task excludes", "이 과제에서 허용하지 않는 컨테이너 안 명령 실행이 있었습니다";
    ByEphemeral: "a container was added to a running pod, which this task excludes", "이 과제에서 허용하지 않는 임시 컨테이너 추가가 있었습니다";
    ByStatus: "a status was written by hand; `ropewalk lab start ID` begins the lab again", "상태(status)를 직접 고쳤습니다. `ropewalk lab start ID` 명령으로 실습을 다시 시작하세요";
    Borrowed: "{}; a person on this cluster has credentials of {}, so what these components do cannot be told apart from a person's work, and only `ropewalk reset` ends that", "{}. 이 클러스터에는 {}의 자격 증명을 가진 사람이 있어서, 이 컴포넌트가 한 일과 사람이 한 일을 구분할 수 없습니다. `ropewalk reset`으로만 해결됩니다";
    Unmet: "not so: {}", "충족되지 않음: {}";
    Late: "done after the time limit", "제한 시간이 지난 뒤에 해결했습니다";
    Unknown: "this cannot be graded any more: the history that it compares with is no longer kept; `ropewalk lab start ID` begins the lab again", "비교할 기록이 더 이상 보관되어 있지 않아 채점할 수 없습니다. `ropewalk lab start ID` 명령으로 실습을 다시 시작하세요";
    TooDear: "this cannot be graded ({}); tell the author of the lab", "채점할 수 없습니다({}). 실습 작성자에게 알려 주세요";
    OddLearner: "the name of a learner has at most 200 characters, none of them a control character", "학습자 이름은 200자 이하여야 하고 제어 문자를 쓸 수 없습니다";
    NoParts: "the parts of a check are named only on a cluster that `ropewalk lab test` started; leave out `parts`", "채점식의 각 부분은 `ropewalk lab test`로 시작한 클러스터에서만 볼 수 있습니다. `parts`를 빼고 다시 요청하세요";
    NotSealed: "the attempts on the lab's own cluster are not taken over: their file was edited", "실습 전용 클러스터의 기록 파일이 수정되어 가져오지 않았습니다";
    NotARecord: "this is not a record: {}", "채점 기록이 아닙니다: {}";
    Unsigned: "this is not a record: it has no complete Ed25519 signature", "채점 기록이 아닙니다. 온전한 Ed25519 서명이 없습니다";
    Edited: "the record was edited after it was signed", "서명한 뒤에 내용이 바뀐 기록입니다";
    StrangeKey: "the key in the record does not have the fingerprint that the record names", "기록에 들어 있는 키의 지문이 기록에 적힌 지문과 다릅니다";
    NoHint: "there are no further hints", "더 볼 힌트가 없습니다";
    NoHintGraded: "the lab is graded with all its points, and no hint is left; `lab leave` ends it", "이 실습에서 모든 점수를 얻었고 더 볼 힌트가 없습니다. `lab leave`로 실습을 끝낼 수 있습니다";
    NoHintFits: "no further hint fits what is still missing; `lab check` shows which tasks are not done", "아직 해결하지 않은 과제에 맞는 힌트가 더 없습니다. 어느 과제가 남았는지는 `lab check`로 확인하세요";
    ProbeFailed: "a step of the grading itself failed: {}", "채점 동작이 실패했습니다: {}";
}
}

/// The text in a language given by its code, with each `{}` replaced in order.
pub(super) fn say(lang: &str, word: Word, with: &[&str]) -> String {
    Lang::parse(lang).unwrap_or_default().say(word, with)
}

/// A reason that rests on who has acted, for the record and for the learner. `borrowed`: names of
/// components under which a person can act here as well.
pub(super) fn red_by(word: Word, borrowed: &BTreeSet<String>) -> Red {
    let names: Vec<&str> = borrowed.iter().map(String::as_str).take(NAMED_MAX).collect();
    if names.is_empty() {
        return red(word, &[]);
    }
    let more = if borrowed.len() > names.len() { ", …" } else { "" };
    let names = names.join(", ") + more;
    let told = |lang: &str| say(lang, Word::Borrowed, &[&say(lang, word, &[]), &names]);
    Red { unmet: told(EN), told: Text::said(told) }
}

/// A reason for the record and for the learner.
pub(super) fn red(word: Word, with: &[&str]) -> Red {
    Red { unmet: say(EN, word, with), told: Text::said(|lang| say(lang, word, with)) }
}

/// Why a task is red whatever its checks say: people have done something in the lab that the task
/// excludes. `None`: they have not. `borrowed`: as of [`red_by`].
pub(super) fn red_by_meddling(
    excludes: &[Meddling],
    done: &BTreeSet<Meddling>,
    borrowed: &BTreeSet<String>,
) -> Option<Red> {
    Some(match excludes.iter().find(|what| done.contains(what))? {
        Meddling::Status => red_by(Word::ByStatus, borrowed),
        Meddling::Exec => red(Word::ByExec, &[]),
        Meddling::Ephemeral => red(Word::ByEphemeral, &[]),
    })
}

/// A reason that an error names, which is said in the learner's language, too.
pub(super) fn red_by_error(word: Word, error: &crate::Error) -> Red {
    let told = |lang: &str| say(lang, word, &[&error.say(Lang::parse(lang).unwrap_or_default())]);
    Red { unmet: told(EN), told: Text::said(told) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_line_of_the_grading_is_told_in_the_learners_language() {
        let error = crate::Error::Line { line: "kubectl get x".into(), why: "refused".into() };
        let red = red_by_error(Word::ProbeFailed, &error);
        assert!(red.unmet.contains("cannot be run: refused"), "{}", red.unmet);
        let korean = red.told.get("ko");
        assert!(
            korean.contains("실행할 수 없습니다: refused") && !korean.contains("cannot be run"),
            "{korean}"
        );
    }

    /// A learner has practised the bootstrapping of a node, and its kubelet writes statuses.
    #[test]
    fn a_red_that_rests_on_a_borrowed_name_says_how_that_ends() {
        let none = red_by(Word::ByStatus, &BTreeSet::new());
        assert_eq!(none, red(Word::ByStatus, &[]));
        let red = red_by(Word::ByStatus, &["system:node:worker".to_string()].into());
        for text in [red.unmet.as_str(), red.told.get("ko")] {
            assert!(text.contains("system:node:worker") && text.contains("ropewalk reset"), "{text}");
        }
        let many = (0..9).map(|n| format!("system:node:n{n}")).collect();
        let text = red_by(Word::Late, &many).unmet;
        assert!(text.contains("system:node:n4, …") && !text.contains("system:node:n5"), "{text}");
    }
}
