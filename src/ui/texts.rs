//! Everything the REPL says, in English and Korean: the only place with words for people.

pub use lang::Lang;
use lang::charset::is_harmful;
use lang::texts;

texts! {
    /// One entry of the table.
    #[allow(missing_docs)] // the English text beside each name says what it is
    pub enum Say {
    // -- the start
    ChooseLanguage:
        "Which language should Ropewalk use?\n  1  English\n  2  한국어\n1 or 2 [{}]: ",
        "어떤 언어를 사용할까요?\n  1  English\n  2  한국어\n1 또는 2 [{}]: ";
    Starting: "starting", "시작하는 중";
    Attaching: "waiting", "기다리는 중";
    Progress:
        "{}  store {}  api {}  nodes {}  kube-system {}  {} s",
        "{}  저장소 {}  API {}  노드 {}  kube-system {}  {}초";
    WaitCut:
        "You stopped waiting. The cluster goes on starting; `status` shows how far it is.",
        "기다리기를 멈추었습니다. 클러스터는 계속 시작 중이며 `status`로 확인할 수 있습니다.";
    UpOver:
        "the cluster is not complete after {} s. Missing: {}. It goes on starting: `ropewalk status` shows how far it is, {} tells why, and `ropewalk down` ends it.",
        "클러스터가 {}초가 지나도 다 시작되지 않았습니다. 아직 준비되지 않은 것: {}. 계속 시작 중이며, `ropewalk status`로 진행 상황을, {}에서 이유를 볼 수 있고, `ropewalk down`으로 끝낼 수 있습니다.";
    UpEnded: "the cluster ended before it was ready; see {}", "클러스터가 준비되기 전에 종료되었습니다. {} 파일을 확인하세요";
    UpFailed:
        "the cluster ended with code {}; see {}",
        "클러스터가 종료 코드 {}번으로 종료되었습니다. {} 파일을 확인하세요";
    NeverEnds:
        "cluster {} answers no more and does not end; see {}",
        "{} 클러스터가 응답하지 않고 종료되지도 않습니다. {} 파일을 확인하세요";
    Merged:
        "context ropewalk-{} is in {}; use it with: kubectl config use-context ropewalk-{}",
        "ropewalk-{} 컨텍스트를 {} 파일에 넣었습니다. 사용하려면: kubectl config use-context ropewalk-{}";
    MergeNowhere:
        "HOME is not set, so there is no ~/.kube/config",
        "HOME이 설정되어 있지 않아 ~/.kube/config를 찾을 수 없습니다";
    WaitOver:
        "The cluster is not complete after {} s. Missing: {}.\nThe session begins all the same; `status` shows how far the cluster is, and its log tells why.",
        "클러스터가 {}초 안에 모두 준비되지 않았습니다. 아직 준비되지 않은 것: {}.\n그대로 세션을 시작합니다. 상태는 `status`로, 원인은 로그에서 확인하세요.";
    NodesMissing: "nodes {}/{}", "노드 {}/{}";
    PodsMissing: "kube-system pods {}/{}", "kube-system 파드 {}/{}";
    OtherPort:
        "Port 6443 is taken; the API is at https://127.0.0.1:{}",
        "6443 포트가 이미 사용 중이라서 API는 https://127.0.0.1:{} 에 있습니다.";
    StaleContext:
        "context ropewalk-{} in ~/.kube/config still leads to the port of the start before; `ropewalk kubeconfig --merge --name {}` renews it ({})",
        "~/.kube/config의 ropewalk-{} 컨텍스트가 아직 이전 포트를 가리킵니다. `ropewalk kubeconfig --merge --name {}` 명령으로 갱신하세요({})";
    NoLimits:
        "Limits on {} are not enforced here: {}. `ropewalk doctor` tells how to mend it.",
        "여기서는 {} 제한이 적용되지 않습니다: {}. 해결 방법은 `ropewalk doctor`에 나옵니다.";
    SilentKilled:
        "Cluster {} does not answer, so its processes are killed.",
        "{} 클러스터가 응답하지 않아 프로세스를 강제 종료합니다.";
    LateKilled:
        "Cluster {} did not stop within {} s, so its processes are killed.",
        "{} 클러스터가 {}초 안에 멈추지 않아 프로세스를 강제 종료합니다.";
    Welcome:
        "Ropewalk: a real Kubernetes cluster with {} nodes, in this terminal.\n\
         Type kubectl commands (`kubectl get nodes` or `get nodes`) and shell lines.\n\
         `help` shows what else there is, Tab completes, `quit` leaves.",
        "Ropewalk: 이 터미널 안에서 노드 {}개로 이루어진 진짜 쿠버네티스입니다.\n\
         kubectl 명령(`kubectl get nodes` 또는 `get nodes`)과 셸 명령을 입력하세요.\n\
         `help`는 도움말, Tab은 자동 완성, `quit`는 종료입니다.";
    WelcomePane:
        "Your shell: type answers, kubectl commands, or `hint`. F1 shows the keys.",
        "셸입니다. 답, kubectl 명령, `hint`를 입력하세요. 도움말은 F1입니다.";
    UpReady: "Cluster {} is ready; Ctrl-C stops it.", "{} 클러스터가 준비되었습니다. Ctrl-C로 멈춥니다.";
    NotUp: "Cluster {} is not running.", "{} 클러스터가 실행 중이 아닙니다.";
    NoCluster: "There is no cluster {}.", "{} 클러스터가 없습니다.";
    StartWith: "Start it with: ropewalk up --name {}", "시작하려면: ropewalk up --name {}";
    StatusReady: "ready", "준비됨";
    StatusNotReady: "not ready", "준비 안 됨";
    WipeAsk:
        "Wipe cluster {} and everything in it ({})? [y/N] ",
        "{} 클러스터와 그 안의 모든 것({})을 삭제할까요? [y/N] ";
    WipeSure:
        "reset wipes cluster {} and all its data; add --yes to say that you mean it",
        "reset은 {} 클러스터와 모든 데이터를 삭제합니다. 정말 삭제하려면 --yes를 붙이세요";
    WipeBusy:
        "cluster {} is still ending or just being started; try again in a moment",
        "{} 클러스터가 종료 중이거나 시작 중입니다. 잠시 뒤에 다시 실행하세요";
    WipeLink:
        "{} was a symbolic link; what it led to is left: {}",
        "{} 경로는 심볼릭 링크였습니다. 링크가 가리키던 곳은 그대로 남아 있습니다: {}";
    Wiped: "Cluster {} is wiped.", "{} 클러스터를 삭제했습니다.";
    Stopping: "stopping cluster {} (its data stays)", "{} 클러스터를 멈춥니다 (데이터는 남습니다)";
    StaysUp:
        "Cluster {} was running before and stays up.\n`ropewalk down --name {}` stops it.",
        "{} 클러스터는 이전부터 실행 중이었으므로 계속 실행됩니다.\n멈추려면: ropewalk down --name {}";
    // -- a foreign cluster
    WelcomeForeign:
        "Ropewalk's lessons on the cluster at {}, which is not Ropewalk's own: each in a namespace of its own there.\n\
         `lesson` lists them and says what cannot be done, `quit` leaves. Outside the lesson's namespace this session changes nothing.",
        "{} 클러스터에서 Ropewalk 강의를 진행합니다. Ropewalk 자체 클러스터가 아니므로 강의마다 전용 네임스페이스를 씁니다.\n\
         `lesson` 명령은 목록과 할 수 없는 단계를 보여 주고, `quit`는 종료입니다. 이 세션은 강의 네임스페이스 밖을 바꾸지 않습니다.";
    NamespacesStay: "On {} these namespaces stay: {}. `ropewalk lesson leave --kubeconfig FILE` deletes them.", "{} 에 다음 네임스페이스가 남아 있습니다: {}. 지우려면: ropewalk lesson leave --kubeconfig 파일";
    DeleteNamespacesAsk:
        "On {} these namespaces were made for lessons: {}. Delete them, with everything in them? [y/N] ",
        "{} 에 강의용으로 만든 네임스페이스가 있습니다: {}. 그 안의 모든 것과 함께 지울까요? [y/N] ";
    NamespacesDeleted: "Deleted: {}", "지웠습니다: {}";
    NoNamespaces: "There is nothing of ours there.", "지울 네임스페이스가 없습니다.";
    FilePlaced: "The lesson's file {} is in your folder, {}. Open it with `{}`.", "강의의 {} 파일을 현재 폴더({})에 넣었습니다. `{}` 명령으로 열 수 있습니다.";
    FileKept: "Your folder has another file {}, which was left as it is. To get the lesson's, move yours away and open the lesson again.", "현재 폴더에 다른 {} 파일이 있어서 그대로 두었습니다. 강의의 파일을 쓰려면 그 파일을 옮기고 강의를 다시 여세요.";
    FileFailed: "The lesson's file {} could not be placed in your folder: {}", "강의의 {} 파일을 현재 폴더에 넣지 못했습니다: {}";
    LessonFirst: "first: lesson {}, not done yet", "먼저 할 강의: {} (아직 끝내지 않음)";
    LessonCannot: "not here, step {}: it needs {}", "여기서는 할 수 없는 단계 {}: 필요한 것은 {}";
    // -- the shell, broken on purpose
    ShellFaulted: "broken in this shell: {}; repair it with `export` or `unset`, or type `fault shell heal`", "이 셸에 고장을 냈습니다: {}. `export`나 `unset`으로 고치거나 `fault shell heal`을 입력하세요";
    ShellHealed: "this shell has its PATH and KUBECONFIG again", "이 셸의 PATH와 KUBECONFIG를 되돌렸습니다";
    ShellFaultOfStep: "the open step of the lesson has broken this shell: repair PATH and KUBECONFIG by hand", "지금 단계가 이 셸에 고장을 냈습니다. PATH와 KUBECONFIG를 직접 고치세요";
    ShellFaultUsage: "usage: fault shell path|missing-kubeconfig|wrong-kubeconfig|heal", "사용법: fault shell path|missing-kubeconfig|wrong-kubeconfig|heal";
    ShellFaultFailed: "this shell could not be broken: {}; type `next` to go on", "이 셸에 고장을 낼 수 없습니다: {}. `next`를 입력하면 다음으로 넘어갑니다";
    // -- help
    Help:
        "kubectl    kubectl get pods · k get pods · get pods    (all three are the same)\n\
         \x20          cp diff exec set top wait: write `kubectl` or `k` in front, because\n\
         \x20          your shell has commands of the same names\n\
         paste      apply -f -        then paste YAML; end it with Ctrl-D or EOF\n\
         shell      every other line, and every line with | > < & ; $ goes to your shell;\n\
         \x20          cd, export and aliases last; !LINE goes there in any case\n\
         learn      lesson [ID]  next  back  goto STEP  hint  check  solve  answer  a b c\n\
         labs       lab list|start ID|check|hint|grade|give-up|leave  ·  drill, progress\n\
         look       status, doctor    what runs, and what this machine allows\n\
         \x20          trace             what the last command went through, with times\n\
         \x20          what [TERM]       explains a word: what pod, what control plane\n\
         \x20          why [KIND/NAME]   what is the matter, in a sentence or two\n\
         back       undo [N]   redo   rewind REVISION|TIME|5m     undo --list\n\
         break      fault kill|stop|start COMPONENT[/NODE]   a stopped one stays down\n\
         here       help [VERB]   lang en|ko   clear   quit (Ctrl-D)   exit [CODE]\n\
         keys       Tab completes · Ctrl-R searches history · Ctrl-C cancels a command\n\
         \n\
         In a second terminal:\n  export KUBECONFIG={}\n  export PATH={}:$PATH",
        "kubectl    kubectl get pods · k get pods · get pods    (셋 다 같은 명령입니다)\n\
         \x20          cp diff exec set top wait는 셸에도 같은 이름의 명령이 있으므로\n\
         \x20          앞에 `kubectl` 또는 `k`를 붙이세요\n\
         붙여넣기   apply -f -        이어서 YAML을 붙여넣고 Ctrl-D 또는 EOF로 끝냅니다\n\
         셸         그 밖의 모든 줄과 | > < & ; $ 가 들어 있는 줄은 셸에서 실행됩니다\n\
         \x20          cd, export, alias는 유지됩니다. !명령 은 항상 셸에서 실행됩니다\n\
         배우기     lesson [ID]  next  back  goto 단계  hint  check  solve  answer  a b c\n\
         실습       lab list|start ID|check|hint|grade|give-up|leave  ·  drill, progress\n\
         살펴보기   status, doctor    무엇이 실행 중인지, 이 컴퓨터에서 할 수 있는 것\n\
         \x20          trace             마지막 명령이 거친 경로와 걸린 시간\n\
         \x20          what [용어]       용어의 뜻: what 파드, what 컨트롤 플레인\n\
         \x20          why [종류/이름]   무엇이 문제인지 한두 문장으로\n\
         되돌리기   undo [N]   redo   rewind 리비전|시각|5m     undo --list\n\
         고장 내기  fault kill|stop|start 컴포넌트[/노드]   stop하면 start까지 멈춥니다\n\
         여기       help [명령]   lang en|ko   clear   quit (Ctrl-D)   exit [코드]\n\
         키         Tab 자동 완성 · Ctrl-R 기록 검색 · Ctrl-C 명령 취소\n\
         \n\
         다른 터미널에서는:\n  export KUBECONFIG={}\n  export PATH={}:$PATH";
    // -- doctor
    DoctorOk: "ok  ", "있음";
    DoctorLacks: "LACK", "없음";
    DoctorLost: "without it: {}", "없으면: {}";
    DoctorMend: "to mend it: {}", "해결 방법: {}";
    DoctorCan: "This machine can run a cluster.", "이 컴퓨터에서 클러스터를 실행할 수 있습니다.";
    DoctorCannot:
        "This machine cannot run a cluster yet: mend what is lacking above.",
        "이 컴퓨터에서는 아직 클러스터를 실행할 수 없습니다. 위에서 없다고 나온 것을 먼저 해결하세요.";
    // -- going back
    Undone: "undone: {}", "되돌림: {}";
    Redone: "done again: {}", "다시 실행: {}";
    WentTo:
        "The objects are as at revision {}: {} put back, {} removed. Nodes and pods follow.",
        "오브젝트가 리비전 {} 상태입니다. 되돌린 것 {}개, 없앤 것 {}개. 노드와 파드가 뒤따라 바뀝니다.";
    NothingToUndo: "there is nothing to undo", "되돌릴 단계가 없습니다";
    // The older step, the lesson's title.
    UndoSetup:
        "nothing was undone: `{}` is older than the setup of the open lesson \"{}\", whose objects would go, too",
        "되돌리지 않았습니다. `{}` 단계는 열려 있는 \"{}\" 강의의 준비 과정보다 먼저 실행되어서, 준비한 오브젝트도 함께 되돌아갑니다";
    UndoSetupTry:
        "`goto {}` begins the step again as it was; `undo --yes` goes back all the same",
        "`goto {}` 명령은 단계를 처음 상태에서 다시 시작합니다. 그래도 되돌리려면 `undo --yes`를 입력하세요";
    UndoSetupTryLess:
        "`undo {}` takes back what you did since then; `goto {}` begins the step again as it was",
        "`undo {}` 명령은 그 뒤에 한 일만 되돌립니다. `goto {}` 명령은 단계를 처음 상태에서 다시 시작합니다";
    StepsLost:
        "{} earlier steps can no longer be undone: the store no longer keeps the state before them",
        "이전 단계 {}개는 더 이상 되돌릴 수 없습니다. 그 단계 이전의 상태가 저장소에 남아 있지 않습니다";
    WhenIsThat: "{} is neither a revision (812) nor a time (10:42:07) nor how long ago (5m)", "{} 값은 리비전(812), 시각(10:42:07), 지난 시간(5m) 중 어느 것도 아닙니다";
    NothingTraced: "nothing was recorded of that; an object is named KIND/NAME, as in `trace pod/web`", "그에 대한 기록이 없습니다. 오브젝트는 `trace pod/web`처럼 종류/이름으로 적습니다";
    TraceWhat:
        "{} names nothing that can be traced; write LAST, a request's id, KIND/NAME, KIND NAME (both also with -n NAMESPACE) or NAMESPACE/KIND/NAME",
        "{} 값은 추적할 대상이 아닙니다. LAST, 요청 ID, 종류/이름, 종류 이름(이 둘에는 -n 네임스페이스도 가능), 네임스페이스/종류/이름 중 하나를 적으세요";
    OwnDirectory:
        "the cluster answers `{}`, and it read its lessons and labs when it started: leave out {}, and start the cluster with {}={}",
        "`{}` 명령에는 클러스터가 응답하며, 강의와 실습은 클러스터가 시작할 때 읽습니다. {} 옵션을 빼고, 클러스터를 시작할 때 {}={} 환경 변수를 지정하세요";
    Pack: "pack: {}", "강의 묶음: {}";
    PackBy: "pack: {}, by {}", "강의 묶음: {} (만든 사람: {})";
    BuiltIn: "built in", "기본 제공 강의";
    OnlyWhat:
        "--only needs --lessons DIR; for a cluster, set {}=1 beside {}",
        "--only는 --lessons 디렉터리와 함께 씁니다. 클러스터에는 {}=1을 {} 환경 변수와 함께 지정하세요";
    LessonName:
        "write TRACK/NN-name in lower-case letters, digits and '-', e.g. harbour/01-config",
        "트랙/NN-이름 형식으로 적으세요. 영어 소문자, 숫자, '-'만 쓸 수 있습니다. 예: harbour/01-config";
    RecordThere: "{} is there already; choose another number or name", "{} 폴더가 이미 있습니다. 다른 번호나 이름을 쓰세요";
    RecordBegins:
        "Recording for {}. Do what the learner shall do; `quit` writes the draft.",
        "{} 폴더에 쓸 내용을 기록합니다. 학습자가 할 일을 그대로 해 보세요. `quit`를 입력하면 초안을 저장합니다.";
    RecordNothing:
        "nothing was written: no command changed an object or asked for one",
        "저장한 것이 없습니다. 오브젝트를 바꾸거나 조회한 명령이 없습니다";
    RecordForeign:
        "`lesson record` needs a cluster of Ropewalk's own: leave out --kubeconfig",
        "`lesson record`는 Ropewalk 자체 클러스터에서만 쓸 수 있습니다. --kubeconfig를 빼세요";
    Recorded:
        "A draft of {} steps; {} places are left for you, each marked {}.",
        "{}단계 초안입니다. 직접 채울 곳이 {}군데 있으며 {}로 표시되어 있습니다.";
    PreviewOf:
        "faults: {} · read again after each change; Ctrl-C ends it",
        "오류: {}개 · 파일이 바뀌면 다시 읽습니다. 끝내려면 Ctrl-C";
    NoSuchLesson: "there is no lesson {}; `lesson list` shows them", "{} 강의는 없습니다. `lesson list`로 목록을 볼 수 있습니다";
    StartWaits: "the cluster has not started yet: {}", "클러스터가 아직 시작되지 않았습니다. 이유: {}";
    UpLate: "the cluster is not complete yet. Missing: {}", "클러스터가 아직 다 시작되지 않았습니다. 준비되지 않은 것: {}";
    OtherKey: "signed with another key, {}", "다른 키로 서명되어 있습니다: {}";
    NoSuchLab: "there is no lab {}; `lab list` shows them", "{} 실습은 없습니다. `lab list`로 목록을 볼 수 있습니다";
    Killed: "killed {}", "강제 종료했습니다: {}";
    Held: "stopped {}; it stays down until `ropewalk fault start {}`", "{} 컴포넌트를 멈췄습니다. `ropewalk fault start {}` 명령으로 다시 시작할 때까지 멈춰 있습니다";
    Released: "{} starts", "{} 컴포넌트를 시작합니다";
    ReleasedLater: "{} starts in {} s, when the kubelet's back-off is over", "{} 컴포넌트를 {}초 뒤에 시작합니다. kubelet의 백오프가 끝나야 합니다";
    ReleasedAsleep: "{} starts when the kubelet of its node runs again: `ropewalk fault start {}`", "{} 컴포넌트는 그 노드의 kubelet이 다시 실행되어야 시작합니다. `ropewalk fault start {}` 명령으로 kubelet을 시작하세요";
    Silent: "no API server answers kubectl until then; pods run on", "그때까지 kubectl에 응답하는 API 서버가 없습니다. 파드는 계속 실행됩니다";
    LinkCut: "cut {} from {}; `ropewalk fault heal` mends it", "{} 노드와 {} 노드 사이의 연결을 끊었습니다. `ropewalk fault heal`로 복구할 수 있습니다";
    LinkSlow: "{} and {} send {} ms late", "{} 노드와 {} 노드 사이의 패킷이 {} ms 늦게 도착합니다";
    LinkLossy: "lost between {} and {}: {} % of the packets", "{} 노드와 {} 노드 사이에서 패킷의 {} %가 손실됩니다";
    LinksWhole: "every link is whole, and every disk has room", "모든 연결이 정상이고, 모든 디스크에 여유 공간이 있습니다";
    DiskFull: "the etcd disk of {} is full; `ropewalk fault heal` makes room", "{} 노드의 etcd 디스크가 가득 찼습니다. `ropewalk fault heal` 명령으로 공간을 확보할 수 있습니다";
    NodeStarts: "{} starts", "{} 노드를 켭니다";
    NodeIsOff: "{} is off; `ropewalk fault node start {}` starts it", "{} 노드가 꺼졌습니다. `ropewalk fault node start {}` 명령으로 켤 수 있습니다";
    NobodyAnswers: "it was the only control plane: pods on other nodes keep running, but no API server answers kubectl", "하나뿐인 컨트롤 플레인 노드였습니다. 다른 노드의 파드는 계속 실행되지만 kubectl에 응답할 API 서버가 없습니다";
    // Fault, amount, nodes, time.
    BrokenSince: "{}{}  {}  since {}", "{}{}  {}  {}부터";
    BrokenBy: " by {} ms", " {}ms";
    BrokenOf: " of {} %", " {}%";
    NothingBroken: "nothing is broken", "고장 난 것이 없습니다";
    // -- usage of words of this place
    UsageMissing: "something is missing after `{}`", "`{}` 뒤에 필요한 값이 빠졌습니다";
    UsageUnknown: "`{}` does not take `{}`", "`{}` 명령은 `{}` 값을 받지 않습니다";
    UsageWrong: "`{}` was not understood", "`{}` 명령을 해석할 수 없습니다";
    // -- words
    LangIs: "The language is {}. Change it with `{}lang en` or `{}lang ko`.", "현재 언어는 {}입니다. `{}lang en` 또는 `{}lang ko`로 바꿀 수 있습니다.";
    LangSet: "Ropewalk speaks English from now on.", "이제부터 한국어로 안내합니다.";
    English: "English", "영어";
    Korean: "Korean", "한국어";
    // -- pasting
    PasteHint:
        "Paste or type YAML now. Ctrl-D, a line EOF, or an empty line after a complete\nobject sends it; Ctrl-C cancels.",
        "YAML을 붙여넣거나 입력하세요. Ctrl-D, EOF 줄, 또는 완성된 오브젝트 다음의\n빈 줄로 끝내면 전송하고, Ctrl-C는 취소합니다.";
    NotUtf8:
        "The line was given up: the terminal sent bytes that are not UTF-8. Set the terminal's encoding to UTF-8.",
        "터미널이 UTF-8이 아닌 바이트를 보내서 이 줄을 버렸습니다. 터미널의 문자 인코딩을 UTF-8로 설정하세요.";
    PasteNotUtf8:
        "the manifest was not sent: it has bytes that are not UTF-8",
        "매니페스트에 UTF-8이 아닌 바이트가 있어서 보내지 않았습니다";
    PasteCut: "Cancelled; nothing was sent.", "취소했습니다. 아무것도 보내지 않았습니다.";
    PasteDropped:
        "Ctrl-C: lines that had come and had not run are dropped: {}.",
        "Ctrl-C를 눌러서, 아직 실행하지 않은 {}줄을 버렸습니다.";
    // -- lessons
    LessonNone:
        "No lesson is open. `lesson` lists them, `next` opens the first that is not done.",
        "열려 있는 강의가 없습니다. `lesson` 명령으로 목록을 보고, `next`로 아직 끝나지 않은 첫 강의를 엽니다.";
    LessonEmpty: "There are no lessons here.", "강의가 없습니다.";
    LessonStep: "step {} of {}", "{}/{}";
    GuessKept: "You have guessed already: {}. The first guess stays.", "이미 답했습니다: {}. 첫 예측은 바뀌지 않습니다.";
    LetterAnswersNothing:
        "No question waits for the letter {}, and your shell has no such command.",
        "지금은 {} 글자로 답할 질문이 없습니다. 셸에도 그런 명령은 없습니다.";
    LessonChoose: "Answer with its letter.", "글자로 답하세요.";
    AnswerText: "Answer with `answer TEXT`.", "`answer 답`으로 답하세요.";
    AnswerNumber: "Answer with `answer NUMBER`.", "`answer 숫자`로 답하세요.";
    AnswerChoices: "Choose all that are right: `answer` and their letters.", "맞는 것을 모두 고르세요: `answer` 다음에 글자를 쓰세요.";
    AnswerOrder: "Put all of them in order: `answer` and the letters.", "모두 순서대로 놓으세요: `answer` 다음에 글자를 쓰세요.";
    AnswerRight: "✓ Right: {}", "✓ 맞습니다: {}";
    AnswerWrong: "Not right: {}. Look again and answer again; `hint` helps.", "아닙니다: {}. 다시 살펴보고 답하세요. `hint`가 도움이 됩니다.";
    AnswerPart: "Right so far: {}. {} more: answer again with all the letters; `hint` helps.", "여기까지는 맞습니다: {}. {}개가 더 있습니다. 모든 글자를 넣어 다시 답하세요. `hint`가 도움이 됩니다.";
    AnswerUnknown: "This answer cannot be checked now: the cluster does not answer in time. {}", "이 답은 지금 확인할 수 없습니다. 클러스터가 제때 응답하지 않습니다. {}";
    AnswerEarly: "Not yet: {}. The question is about the result of the task, which is not there yet. Do the task first, then answer again.", "아직 이릅니다: {}. 질문은 과제의 결과를 묻는데, 그 결과가 아직 없습니다. 과제를 먼저 하고 다시 답하세요.";
    LessonDone: "✓ Done.", "✓ 완료했습니다.";
    LessonSolved: "✓ Solved for you.", "✓ 풀이를 대신 실행했습니다.";
    LessonAlso: "Another way:", "다른 방법:";
    LessonNext: "`next` goes on.", "`next`로 계속합니다.";
    LessonFinishedNext: "The lesson is complete. `next` opens {} {}, `lesson again` plays this one again.", "강의를 마쳤습니다. `next`로 다음 강의({} {})를 열고, `lesson again`으로 이 강의를 처음부터 다시 합니다.";
    LessonThenLab: "Now on your own: `{}` gives you something broken to repair.", "이제 혼자 해 볼 차례입니다. `{}` 명령으로 시작하고, 고장 난 것을 고쳐 보세요.";
    LessonThenDrill: "Now on your own: `{}` asks for what you have learned.", "이제 혼자 해 볼 차례입니다. `{}` 명령으로 배운 것을 연습해 보세요.";
    LessonFinishedAll: "This was the last lesson. Now mend what is broken: `lab list`. `lesson` lists the lessons, to look things up; `lesson again` plays this one again.", "마지막 강의를 마쳤습니다. 이제 고장 난 것을 고칠 차례입니다. `lab list`를 입력하세요. 지난 강의는 `lesson` 명령으로 다시 찾아볼 수 있고, `lesson again`으로 이 강의를 처음부터 다시 할 수 있습니다.";
    LessonAgain: "The lessons do not answer: {}. They are asked again.", "강의가 응답하지 않습니다: {}. 다시 요청합니다.";
    LessonHint: "hint {}:", "힌트 {}:";
    LessonOffer: "Stuck? `hint` tells where to look.", "막혔다면 `hint`를 입력하세요. 무엇을 살펴볼지 알려 줍니다.";
    LessonHintsLeft: "({} more)", "(남은 힌트 {}개)";
    LessonHintsOver: "(no more for now)", "(지금은 더 없습니다)";
    LessonNotYet: "Not yet: {}", "남은 조건: {}";
    LessonMet: "{} of {} conditions are met; not yet: {}", "조건 {}개 충족(전체 {}개). 남은 조건: {}";
    LessonMetOne: "{} of {} conditions is met; not yet: {}", "조건 {}개 충족(전체 {}개). 남은 조건: {}";
    LessonUnasked: "{} (not looked at yet: {})", "{} (아직 확인하지 않은 조건: {}개)";
    LessonHolds: "All {} conditions are met; wait.", "조건 {}개를 모두 충족했습니다. 잠시 기다리세요.";
    LessonHoldsAsks: "The conditions are met. Now answer the question.", "조건을 모두 충족했습니다. 이제 질문에 답하세요.";
    LessonHoldsOne: "It is so now, and has to stay so for a moment.", "충족했습니다. 잠시 그대로 유지되어야 합니다.";
    LessonMinutes: "{} min", "{}분";
    LessonPlays: "Playing: {}", "실행: {}";
    LossHead: "This would take back what was made or changed since:", "그 뒤에 만들거나 바꾼 것이 다음과 같이 되돌아갑니다.";
    LossRemoved: "{} would be removed", "{} 삭제 예정";
    LossChanged: "{} would be changed back", "{} 이전 상태로 되돌릴 예정";
    LossMore: "and {} more", "그 밖에 {}개";
    LossAsk: "Go on? [y/N]", "계속할까요? [y/N]";
    LossKept: "Nothing was changed.", "아무것도 바꾸지 않았습니다.";
    LossRefused: "nothing was changed, because nobody can be asked here", "물어볼 수 없는 곳이어서 아무것도 바꾸지 않았습니다";
    LossTry: "add --yes to go on all the same", "그래도 계속하려면 --yes를 붙이세요";
    LossSetup: "The setup of this lesson would delete what no lesson made:", "이 강의의 준비 과정이 강의에서 만들지 않은 것을 삭제하려고 합니다.";
    LossSetupKeep: "To keep all of it, play the lesson on another cluster: `ropewalk --name practice` in another terminal starts one.", "모두 그대로 두려면 다른 클러스터에서 이 강의를 하세요. 다른 터미널에서 `ropewalk --name practice`를 입력하면 클러스터가 하나 더 시작됩니다.";
    BesideLesson: "Lesson {}", "{} 강의";
    BesideLab: "Lab {}", "{} 실습";
    BesideOffer: "{} is played on a cluster of its own: control planes {}, workers {}. It starts beside yours ({}), which stays as it is; it needs about {} MB of memory and takes a minute to start. `{}` ends it: the cluster is removed with everything in it, and what you have done counts.", "{}: 전용 클러스터에서 진행합니다(컨트롤 플레인 {}개, 워커 노드 {}개). 지금 클러스터({}) 옆에 새로 시작하며, 지금 클러스터는 그대로 남습니다. 메모리 약 {} MB가 필요하고 시작하는 데 1분쯤 걸립니다. `{}` 명령으로 끝내면 전용 클러스터는 안의 모든 것과 함께 삭제되고, 지금까지 한 일은 기록에 남습니다.";
    BesideGone: "The cluster {} is removed; your own is {}.", "전용 클러스터({})를 삭제했습니다. 원래 클러스터: {}";
    BesideSwept: "The cluster {} of {}, which an interrupted session had left, is removed; what you had done there counts.", "중단된 세션이 남긴 전용 클러스터({}, {})를 삭제했습니다. 그곳에서 한 일은 기록에 남았습니다.";
    BesideWiped: "The cluster {} of {}, which an interrupted session had left, is removed, too.", "중단된 세션이 남긴 전용 클러스터({}, {})도 삭제했습니다.";
    BesideNone: "This is your own cluster: no lesson or lab has started another one.", "지금 클러스터는 원래 쓰던 클러스터입니다. 강의나 실습의 전용 클러스터가 아닙니다.";
    BesideForeign: "This cluster is not Ropewalk's own, and no lesson or lab has started it, so there is no other cluster to go back to. Lessons keep to namespaces of their own here: `quit` ends this session and asks whether to delete them. Later, `ropewalk lesson leave --kubeconfig FILE` deletes them.", "지금 클러스터는 Ropewalk 자체 클러스터가 아니고 강의나 실습의 전용 클러스터도 아니므로, 돌아갈 다른 클러스터가 없습니다. 강의는 이곳에서 전용 네임스페이스만 사용합니다. `quit`로 세션을 끝내면 이 네임스페이스를 삭제할지 묻습니다. 나중에 삭제하려면 `ropewalk lesson leave --kubeconfig 파일`을 입력하세요.";
    BesideEdited: "the attempts on the lab's own cluster are not taken over: their file was edited", "실습 전용 클러스터의 기록 파일이 수정되어 가져오지 않았습니다";
    BesideRuns: "the cluster {} of another lesson or lab still runs or is just ending, and there is one at a time; leave that one first", "다른 강의나 실습의 전용 클러스터({})가 아직 실행 중이거나 종료되는 중입니다. 전용 클러스터는 한 번에 하나만 쓸 수 있으니 먼저 끝내세요";
    BesideOther: "the cluster {} was not made for a lesson or lab, so it stays; `ropewalk reset --name {}` removes it", "{} 클러스터는 강의나 실습을 위해 만든 것이 아니어서 삭제하지 않았습니다. `ropewalk reset --name {}` 명령으로 삭제할 수 있습니다";
    LessonDebriefNone: "There is nothing to read again: this step is not done.", "다시 읽을 내용이 없습니다. 아직 끝내지 않은 단계입니다.";
    HelpNext: "next: goes on to the next step; after the last one it opens the next lesson.", "next: 다음 단계로 갑니다. 마지막 단계 다음에는 다음 강의를 엽니다.";
    HelpBack: "back: shows the step before this one. The cluster stays as it is.", "back: 앞 단계를 보여 줍니다. 클러스터는 그대로입니다.";
    HelpGoto: "goto STEP: begins a step anew, by its name or its number (goto 2, goto apply, goto first-voyage/04#1).\nIf you were there before, the objects return to what they were when the step began. What you made yourself since then is listed first, and you are asked; `goto STEP --yes` does not ask. `redo` brings it back.", "goto 단계: 이름이나 번호로 단계를 새로 시작합니다(goto 2, goto apply, goto first-voyage/04#1).\n이미 시작했던 단계라면 오브젝트가 그때 상태로 돌아갑니다. 그 뒤에 직접 만든 것이 있으면 목록을 보여 주고 먼저 묻습니다. 묻지 않게 하려면 `goto 단계 --yes`를 쓰세요. `redo`로 되살릴 수 있습니다.";
    HelpAnswer: "answer VALUE: answers the question of this step: a text, a number, or letters (`answer a c`).\nA variable or a command works, too: `answer $(kubectl get pod web -o jsonpath={.status.podIP})`.\nThe exit code is 0 only if the answer is right.", "answer 값: 이 단계의 질문에 답합니다. 글, 숫자, 글자(`answer a c`)로 답합니다.\n변수나 명령도 쓸 수 있습니다: `answer $(kubectl get pod web -o jsonpath={.status.podIP})`.\n맞았을 때만 종료 코드가 0입니다.";
    HintOfLab: "That was about the lesson. A lab is open, too: `lab hint` shows its next hint.", "위의 안내는 강의에 관한 것입니다. 지금 실습도 열려 있습니다. 실습의 다음 힌트는 `lab hint`로 봅니다.";
    HintGraded: "The lab {} is graded with all its points, and no hint is left. `lab show` shows its tasks, `lab leave` ends it.", "{} 실습에서 모든 점수를 얻었고 더 볼 힌트가 없습니다. 과제는 `lab show`로 다시 보고, `lab leave`로 실습을 끝냅니다.";
    HelpHint: "hint: shows the next hint for this step.\nIn the interface, while a lab is open: the next hint of what the pane shows, the lesson or the lab. The record of a lab counts its hints.", "hint: 이 단계의 다음 힌트를 보여 줍니다.\n인터페이스에서 실습이 열려 있으면 강의와 실습 가운데 화면에 보이는 것의 다음 힌트를 보여 줍니다. 실습에서 본 힌트는 기록에 남습니다.";
    HelpCheck: "check: says what this step still needs. The exit code is 0 only if it is done.", "check: 이 단계에 아직 필요한 것을 알려 줍니다. 끝난 단계일 때만 종료 코드가 0입니다.";
    HelpLesson: "lesson: lists the lessons. lesson ID: opens one (lesson 4, lesson first-voyage/04).\nIf its setup would delete or change something of yours, you are asked first; `lesson ID --yes` does not ask.\nlesson again: plays the open lesson again from its first step, as `goto 1` does.\nA lesson may have a cluster of its own: you are asked, it starts beside yours, and `lesson leave` leads back and removes it.\nlesson stop: stops a setup that is running, as Ctrl-C does; `lesson ID` then begins it anew.", "lesson: 강의 목록을 보여 줍니다. lesson ID: 강의를 엽니다(lesson 4, lesson first-voyage/04).\n준비 과정에서 내가 만든 것이 삭제되거나 바뀐다면 먼저 묻습니다. 묻지 않게 하려면 `lesson ID --yes`를 쓰세요.\nlesson again: 열린 강의를 첫 단계부터 다시 합니다(`goto 1`과 같습니다).\n강의에 전용 클러스터가 있으면 먼저 묻고 지금 클러스터 옆에 시작합니다. `lesson leave`를 입력하면 삭제되고 원래 클러스터로 돌아옵니다.\nlesson stop: 진행 중인 준비를 멈춥니다(Ctrl-C도 같습니다). `lesson ID`로 처음부터 다시 시작할 수 있습니다.";
    HelpSolve: "solve: types the solution of this step for you. The step then counts as solved, not as done by you.", "solve: 이 단계의 풀이를 대신 실행합니다. 직접 끝낸 것이 아니라 풀이로 끝낸 것으로 남습니다.";
    HelpDebrief: "debrief: shows once more what happened in this step. debrief STEP: in another one that you have done.", "debrief: 이 단계에서 일어난 일을 다시 보여 줍니다. debrief 단계: 끝낸 다른 단계의 내용을 보여 줍니다.";
    LessonStuck: "the solution was played, and the step is not done yet", "풀이를 실행했지만 단계가 아직 완료되지 않았습니다";
    SolveStuckTry: "the lesson tells you when the step is done. `check` looks once more; `goto {}` begins the step anew", "단계가 완료되면 강의가 알려 줍니다. `check`로 다시 확인하거나 `goto {}` 명령으로 단계를 처음부터 시작하세요";
    SolveWaits: "Waiting until the step is done. Ctrl-C gives you the prompt back.", "단계가 완료되기를 기다립니다. Ctrl-C를 누르면 프롬프트로 돌아갑니다.";
    SolveFailed: "`{}` failed with exit code {}, so `solve` stopped there", "`{}` 명령이 실패하여(종료 코드 {}) `solve`를 멈췄습니다";
    SolveNotRun: "not run: {}", "실행하지 않은 명령: {}";
    SolveFailedTry: "read what the command printed. `check` names the condition that is missing; `goto {}` begins the step anew, then enter `solve` again", "명령이 출력한 내용을 읽어 보세요. 남은 조건은 `check`로 볼 수 있습니다. `goto {}` 명령으로 단계를 처음부터 시작한 뒤 `solve`를 다시 입력하세요";
    // -- labs
    LabNone: "No lab is open. `lab list` shows them, `lab start ID` starts one.", "열려 있는 실습이 없습니다. `lab list`로 목록을 보고, `lab start ID`로 시작합니다.";
    LabSeed: "(seed {})", "(시드 {})";
    LabMinutes: "Time limit: {} min. `lab start` starts the clock; it also runs while the cluster is down.", "제한 시간: {}분. `lab start`를 실행하면 시간이 흐르기 시작하고, 클러스터가 꺼져 있을 때도 흐릅니다.";
    LabLeft: "{} left of {} min. `lab hint`, `lab check`, `lab grade`.", "남은 시간 {} (제한 {}분). `lab hint`, `lab check`, `lab grade`.";
    LabReached: "All points after {} of {} min.", "모든 점수를 {} 만에 얻었습니다(제한 {}분).";
    LabHintsLeft: "(there is another hint; the record counts hints)", "(힌트가 더 있습니다. 사용한 힌트는 기록에 남습니다)";
    LabScore: "{} of {} points", "{}점 (만점 {}점)";
    LabSolved: "The solution was played, so this does not count as passed.", "풀이를 실행했으므로 통과로 인정되지 않습니다.";
    LabTampered: "What was kept of this lab was changed by hand, so this does not count as passed.", "저장된 실습 상태를 직접 수정했으므로 통과로 인정되지 않습니다.";
    LabAttempts: "Starts of this lab: {}, with this seed: {}. Gradings in all: {}.", "이 실습을 {}번 시작했고, 그중 {}번이 이 시드였습니다. 채점은 모두 {}번 했습니다.";
    LabBookDeleted: "The book of the labs on this cluster was deleted {} times.", "이 클러스터의 실습 기록 파일을 지운 것이 {}번 있었습니다.";
    LabLost: "The counts of earlier tries were edited, deleted or put back {} times.", "이전 시도 횟수 기록을 고치거나 지우거나 되돌린 것이 {}번 있었습니다.";
    LabGiveUp: "Give up \"{}\"? You will be told the cause and the way. The lab then does not count as passed, and its record says that you gave up.", "\"{}\" 실습을 포기할까요? 원인과 해결 방법을 보여 줍니다. 그러면 통과로 인정되지 않고, 포기했다는 것이 기록에 남습니다.";
    LabGaveUp: "The learner gave up and was told the way: this does not count as passed.", "포기하고 해결 방법을 보았습니다. 통과로 인정되지 않습니다.";
    LabEnds: "The lab \"{}\" is open. It ends, and what it made is taken away.", "\"{}\" 실습이 열려 있습니다. 이 실습이 끝나고, 실습에서 만든 것은 삭제됩니다.";
    LabLeftOff: "The lab \"{}\" is over. What it made is gone. If it was not graded, later records of this lab say that it was left.", "\"{}\" 실습을 끝냈습니다. 실습에서 만든 것은 삭제했습니다. 채점한 적이 없으면, 이 실습의 다음 기록에는 중간에 그만둔 것으로 남습니다.";
    LabEarlierLeft: "Earlier starts of this lab were left without a grade, {} times in all.", "이 실습을 전에 시작했다가 채점하지 않고 그만둔 적이 있습니다. 모두 {}번입니다.";
    LabWay: "The way:", "해결 방법:";
    LabShown: "The solution was shown at an earlier start of this lab, {} times in all.", "이 실습을 전에 시작했을 때 풀이를 본 적이 있습니다. 모두 {}번입니다.";
    LabEarlierHints: "{} hints of earlier starts count, too.", "전에 시작했을 때 본 힌트도 함께 셉니다: {}개";
    LossLesson: "The open lesson \"{}\" was set up after that: its objects would go back with it.", "열려 있는 \"{}\" 강의는 그 뒤에 준비되었으므로 준비한 오브젝트도 함께 되돌아갑니다.";
    LossLab: "The lab \"{}\" was set up after that: it would be taken away with it.", "\"{}\" 실습은 그 뒤에 준비되었으므로 함께 사라집니다.";
    SolveLab: "a lab is open, and `solve` is a word of lessons", "실습이 열려 있습니다. `solve`는 강의에서 쓰는 명령입니다";
    SolveLabTry: "`lab solve` plays the lab's solution; `solve LESSON` plays that of a lesson", "`lab solve`는 실습의 풀이를, `solve 강의`는 강의의 풀이를 실행합니다";
    LabUntold: "Explanations kept back: {}. Each is shown when its task is right, or after `lab give-up`.", "아직 보여 주지 않은 설명: {}개. 과제가 해결되거나 `lab give-up`을 실행하면 볼 수 있습니다.";
    LabOther: "the lab {} of this record is not the one in this program: it was read from {} by ropewalk {} and has the content {}; --labs DIRECTORY compares with the labs there", "이 기록의 {} 실습은 이 프로그램에 들어 있는 것과 다릅니다. 읽은 곳: {}, ropewalk 버전: {}, 내용 해시: {}. --labs 디렉터리를 적으면 그곳의 실습과 비교합니다";
    LabRecord: "signed record: {}", "서명된 기록: {}"; LabNoLearner: "no learner named", "학습자 이름 없음";
    LabVerified: "unedited: {}, lab {}, seed {}, {} of {} points, signed with {}", "고쳐진 곳 없음: {}, 실습 {}, 시드 {}, {}점 (만점 {}점), 서명 키 {}";
    // -- errors: what happened, why, what to try
    Why: "why", "이유";
    Try: "try", "해 보기";
    WhatUnknown: "\"{}\" is not in the glossary", "용어집에 없는 말입니다: {}";
    WhatLike: "Did you mean: {}?", "혹시 이 말입니까? {}";
    WhatAll: "`what` alone lists all terms", "`what`만 입력하면 모든 용어를 볼 수 있습니다";
    WhatList: "{} terms. `what TERM` explains one:", "용어 {}개. `what 용어`를 입력하면 뜻을 볼 수 있습니다:";
    WhatLesson: "lesson", "강의";
    WhatSee: "see also", "함께 보기";
    WatchWhat: "`watch` needs something to watch", "`watch` 뒤에 지켜볼 명령이 필요합니다";
    WatchTry: "`get pods -w`, or `watch kubectl get pods`", "`get pods -w` 또는 `watch kubectl get pods`";
    Nested: "you are in Ropewalk already", "이미 Ropewalk 안에 있습니다";
    NoMap: "the map is part of the terminal interface", "그림은 터미널 인터페이스에서 볼 수 있습니다";
    NoMapTry: "ropewalk --name {}", "ropewalk --name {}";
    NoSuchView: "there is no view {}; there are {}", "{} 그림은 없습니다. 있는 것: {}";
    NestedTry: "`help`, or `ropewalk status`", "`help` 또는 `ropewalk status`";
    KoreanLayout: "Korean keyboard layout: this line runs as `{}`", "한글 자판으로 입력한 명령을 다음과 같이 실행합니다: `{}`";
    KillInit: "`{}` would signal process 1 of this machine, not of a pod; it was not run", "`{}` 명령은 파드가 아니라 이 컴퓨터의 1번 프로세스에 신호를 보냅니다. 실행하지 않았습니다";
    KillInitTry: "kubectl exec POD -- kill 1   (on this machine all the same: `!{}`)", "kubectl exec 파드 -- kill 1   (그래도 이 컴퓨터에서 실행하려면 `!{}`)";
    KillAll: "`{}` would signal every process of yours; it was not run", "`{}` 명령은 사용자의 모든 프로세스에 신호를 보냅니다. 실행하지 않았습니다";
    KillAllTry: "name the processes; all of them all the same: `!{}`", "프로세스 번호를 지정하세요. 그래도 모두에 보내려면 `!{}` 명령을 입력하세요";
    KillOwn: "process {} is Ropewalk's own; it got no signal", "{}번 프로세스는 Ropewalk의 프로세스입니다. 신호를 보내지 않았습니다";
    KillOwnTry: "ropewalk down --name {} stops the cluster, `quit` leaves; all the same: `!{}`", "클러스터를 멈추려면 ropewalk down --name {}, 나가려면 `quit`, 그래도 실행하려면 `!{}` 명령을 입력하세요";
    DidYouMean: "Did you mean `{}`?", "혹시 이 명령입니까? `{}`";
    ForeignShell:
        "Your shell {} cannot be driven line by line; {} is used here instead.",
        "사용 중인 {} 셸은 한 줄씩 실행할 수 없어서 여기서는 {} 셸을 사용합니다.";
    PlainShell:
        "Your shell did not get through its start files; it runs without them here.",
        "셸이 시작 파일을 끝까지 읽지 못해서 여기서는 시작 파일 없이 실행합니다.";
    ShellEnded:
        "The shell ended with code {}; the next line gets a new one.",
        "셸이 종료 코드 {}번으로 끝났습니다. 다음 줄부터 새 셸을 사용합니다.";
    ShellEndedDropped:
        "Lines that had come and had not run are dropped: {}.",
        "아직 실행하지 않은 {}줄을 버렸습니다.";
    ShellHadEnded:
        "The shell had ended with code {} before this line; a new one runs it, without what was set in the old one.",
        "이 줄을 실행하기 전에 셸이 종료 코드 {}번으로 끝나 있었습니다. 새 셸에서 실행하며, 이전 셸에서 설정한 내용은 남아 있지 않습니다.";
    ShellWoken:
        "The shell had stopped itself (`suspend`). Nothing could be typed then, so it goes on.",
        "셸이 스스로 멈추어(`suspend`) 아무것도 입력할 수 없었으므로 다시 실행했습니다.";
    ShellSilent:
        "the line was not run: PATH of this shell lacks the usual directories, so the shell does not find the program `cat` (or a trap of the shell takes too long)",
        "이 줄은 실행하지 않았습니다. 셸의 PATH에 기본 디렉터리가 없어 `cat` 프로그램을 찾지 못합니다(또는 셸의 trap이 오래 걸립니다)";
    ShellSilentTry:
        "put the directories back with `export PATH=$PATH:/usr/bin:/bin`, then enter the line again",
        "`export PATH=$PATH:/usr/bin:/bin` 명령으로 디렉터리를 다시 넣은 다음 이 줄을 다시 입력하세요";
    ShellSilentStep:
        "`export PATH=$PATH:/usr/bin:/bin` puts the directories back; `goto {}` begins the step again, with its PATH",
        "`export PATH=$PATH:/usr/bin:/bin` 명령으로 디렉터리를 다시 넣거나, `goto {}` 명령으로 단계를 그 PATH와 함께 처음부터 시작하세요";
    ShellBroken: "the shell cannot be used: {}", "셸을 사용할 수 없습니다: {}";
    ShellBrokenTry: "check the variable SHELL: is {} a working shell?", "SHELL 변수를 확인하세요. {} 셸이 제대로 동작합니까?";
    ClusterEnded: "cluster {} has ended", "{} 클러스터가 종료되었습니다";
    ClusterEndedWhy:
        "it was stopped from elsewhere, or its processes died; its log:\n       {}",
        "다른 곳에서 멈추었거나 프로세스가 죽었습니다. 로그 파일:\n       {}";
    ClusterEndedTry:
        "ropewalk up --name {} --detach --wait\n       starts it again here; no acknowledged data is lost",
        "ropewalk up --name {} --detach --wait\n       여기서 다시 시작합니다. 저장된 데이터는 남아 있습니다";
    ClusterBack: "Cluster {} is back.", "{} 클러스터가 다시 실행 중입니다.";
    BadExit: "exit: {} is not a number", "exit: {} 값은 숫자가 아닙니다";
    Stopped: "these programs are stopped and would end with the session: {}", "멈춰 있는 프로그램이 있습니다. 세션이 끝나면 함께 종료됩니다: {}";
    StoppedTry: "`fg` goes on with one, `jobs` lists them; do the same once more to end them", "`fg`로 이어서 실행하고 `jobs`로 목록을 볼 수 있습니다. 그대로 끝내려면 한 번 더 입력하세요";
    LineNotUtf8: "the line was not run: it has bytes that are not UTF-8", "이 줄에 UTF-8이 아닌 바이트가 있어서 실행하지 않았습니다";
    Unreadable: "the line cannot be run: {}", "이 줄을 실행할 수 없습니다: {}";
    }
}

/// What happened, why, and what to try, a line each, as printed on standard error; without a line
/// break at the end. What it names may have characters in it that a terminal takes for orders, or
/// that show a text in another order: they are left out.
pub fn problem(lang: Lang, what: &str, why: Option<&str>, tip: Option<&str>) -> String {
    let mut out = format!("ropewalk: {what}");
    for (label, text) in [(Say::Why, why), (Say::Try, tip)] {
        if let Some(text) = text {
            out.push_str(&format!("\n  {}: {text}", lang.say(label, &[])));
        }
    }
    out.replace(|c: char| is_harmful(c) && c != '\n', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lang::Text;

    /// One tone: tasks and hints ask with 하세요.
    #[test]
    fn korean_asks_in_one_tone() {
        for say in Say::ALL {
            assert!(!say.pair().1.contains("십시오"), "{say:?}");
        }
    }

    /// Terminal cells, roughly: everything from Hangul on takes two.
    fn cells(line: &str) -> usize {
        line.chars()
            .map(|c| if c >= '\u{1100}' && !('\u{2000}'..'\u{2e80}').contains(&c) { 2 } else { 1 })
            .sum()
    }

    #[test]
    fn long_texts_fit_the_screen() {
        for say in Say::ALL {
            let (english, korean) = say.pair();
            if matches!(say, Say::Help | Say::Welcome | Say::WelcomePane | Say::PasteHint) {
                for line in english.lines().chain(korean.lines()) {
                    assert!(cells(line) <= 80, "{} cells: {line}", cells(line));
                }
            }
        }
        for lang in [Lang::En, Lang::Ko] {
            let doing = lang.say(Say::Attaching, &[]);
            let progress = lang.say(Say::Progress, &[&doing, "ok", "ok", "10/10", "100/100", "100.0"]);
            assert!(cells(&progress) < 80, "{progress}"); // it is drawn over and over on one line
            assert_eq!(lang.say(Say::Welcome, &["3"]).lines().count(), 3);
            assert!(lang.say(Say::Help, &["K", "P"]).lines().count() <= 20);
        }
    }

    #[test]
    fn a_refusal_says_what_why_and_what_to_try() {
        assert_eq!(problem(Lang::Ko, "a", Some("b"), Some("c")), "ropewalk: a\n  이유: b\n  해 보기: c");
        assert_eq!(problem(Lang::En, "no pod \x1b[2Jx", None, None), "ropewalk: no pod [2Jx");
        assert_eq!(problem(Lang::En, "no pod \u{202e}x\u{2066}", None, None), "ropewalk: no pod x");
    }
}
