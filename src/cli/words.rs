//! Texts that these commands alone print: those for authors and measurements, `etcdctl`, `status`,
//! `up` and `rewind`. What a session says, too, is in `ui::texts`.

use lang::{Lang, texts};
use ui::prose::harmless;
use ui::texts::Say;

texts! {
    /// A sentence or a word each.
    pub(crate) enum Word {
        ProveIt: "prove it: {}", "검증하려면 다음 명령을 실행하세요: {}";
        DraftElsewhere: "the draft could not be written to {} ({}); it is in the folder that was named above", "초안을 {} 폴더에 쓸 수 없어({}) 위에 표시한 폴더에 저장했습니다";
        DraftShown: "the draft could not be written to {} or to {}; it is shown above", "초안을 다음 두 폴더에 쓸 수 없어 위에 출력했습니다: {}, {}";
        DraftLost: "the draft is lost: it could not be written to {}, to {} or to standard output ({})", "초안을 다음 두 폴더에도 표준 출력에도 쓸 수 없어 잃었습니다: {}, {}, 표준 출력({})";
        NameLessons: "name lessons, or --all", "강의 ID나 --all을 적으세요";
        NameLabs: "name labs, or --all", "실습 ID나 --all을 적으세요";
        NameTasks: "name skills or tasks, or --all", "기술이나 과제의 ID, 또는 --all을 적으세요";
        NoLesson: "there is no lesson {} that can be read", "읽을 수 있는 강의 중에 {} 강의가 없습니다";
        EmptyLesson: "the lesson ID is empty; `lesson list` shows all IDs", "강의 ID가 비어 있습니다. `lesson list`로 목록을 볼 수 있습니다";
        EmptyLab: "the lab ID is empty; `lab list` shows all IDs", "실습 ID가 비어 있습니다. `lab list`로 목록을 볼 수 있습니다";
        NoLab: "there is no lab {} that can be read", "읽을 수 있는 실습 중에 {} 실습이 없습니다";
        NoTask: "there is no skill or task {}", "{} 기술이나 과제가 없습니다";
        ProvedApart: "{} is proved on its own cluster: {}", "전용 클러스터에서 검증합니다. {}: {}";
        LessonsRead: "{} lessons read, {} faults", "강의 {}개를 읽었습니다. 오류는 {}개입니다";
        LabsRead: "{} labs read, {} faults", "실습 {}개를 읽었습니다. 오류는 {}개입니다";
        ForeignDirectory: "with --kubeconfig, name the lessons' directory in {}", "--kubeconfig와 함께 쓸 때는 {} 환경 변수에 강의 디렉터리를 지정하세요";
        PreviewAlone: "`lesson preview` reads the folder that it is given, and asks no cluster: leave out {}", "`lesson preview`는 지정한 폴더만 읽고 클러스터를 쓰지 않습니다. {} 옵션을 빼세요";
        NewAlone: "`lesson new` writes files and asks no cluster: leave out {}", "`lesson new`는 파일만 만들고 클러스터를 쓰지 않습니다. {} 옵션을 빼세요";
        NoMember: "no etcd member of cluster {} is running; `ropewalk fault list --name {}` shows what is broken", "{} 클러스터에 실행 중인 etcd 멤버가 없습니다. `ropewalk fault list --name {}`로 고장 난 곳을 확인하세요";
        UpProgress: "store {}  api {}  nodes {}/{}  kube-system {}/{}", "저장소 {}  API {}  노드 {}/{}  kube-system {}/{}";
        StatusCluster: "cluster", "클러스터";
        StatusState: "state", "상태";
        StatusClock: "clock", "시계";
        StatusNode: "node", "노드";
        StatusRunning: "running", "실행 중";
        StatusStarting: "starting", "시작하는 중";
        StatusStopped: "stopped", "멈춤";
        StatusAbsent: "absent", "없음";
        NodeUnknown: "not known: no API server answers", "알 수 없음: 응답하는 API 서버가 없습니다";
        WhenToCome: "{} is still to come; `undo --list` shows the times of the steps. A time with Z is UTC", "{} 시각은 아직 오지 않았습니다. `undo --list`로 단계의 시각을 볼 수 있습니다. Z가 붙은 시각은 UTC입니다";
        BenchPeer: "--peer-kubeconfig is for the part api: name it, too, or leave the option out", "--peer-kubeconfig는 api 항목에만 쓰입니다. api도 함께 적거나 이 옵션을 빼세요";
    }
}

/// Says that no lesson has this ID. It is empty where a script has not set a variable.
pub(crate) fn no_lesson(id: &str, lang: Lang) -> String {
    match id.trim().is_empty() {
        true => lang.say(Word::EmptyLesson, &[]),
        false => lang.say(Say::NoSuchLesson, &[&harmless(id)]),
    }
}

/// Says the same of a lab.
pub(crate) fn no_lab(id: &str, lang: Lang) -> String {
    match id.trim().is_empty() {
        true => lang.say(Word::EmptyLab, &[]),
        false => lang.say(Say::NoSuchLab, &[&harmless(id)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_id_is_called_empty() {
        for id in ["", " "] {
            let message = no_lesson(id, Lang::En);
            assert_eq!(message, "the lesson ID is empty; `lesson list` shows all IDs", "{id:?}");
            assert_eq!(
                no_lab(id, Lang::Ko),
                "실습 ID가 비어 있습니다. `lab list`로 목록을 볼 수 있습니다",
                "{id:?}"
            );
        }
        assert!(no_lesson("4; true", Lang::En).starts_with("there is no lesson 4; true;"));
        assert!(no_lab("x", Lang::En).starts_with("there is no lab x;"));
    }
}
