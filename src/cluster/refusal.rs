//! Refusals: what the cluster cannot do, in the language of the person who asked for it.

use super::foreign::ForeignRefusal;
use lang::{Lang, texts};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A refusal as the control socket carries it: what, and the values its sentence needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// The environment has neither `HOME` nor `ROPEWALK_HOME`.
    NoHome,
    /// The path of the home is not UTF-8: it is in orders and records, which are text.
    NotText {
        /// The path, with U+FFFD for what is not UTF-8.
        path: String,
    },
    /// The name of a cluster is not 1 to 40 characters of `a-z`, `0-9` and inner `-`.
    BadName {
        /// The name as it was given.
        name: String,
    },
    /// The path of the control socket is too long for a socket.
    LongPath {
        /// The path of the control socket.
        path: String,
    },
    /// The name of a cluster is that of a foreign cluster's directory.
    Foreign {
        /// The name of its directory.
        name: String,
    },
    /// The file is no kubeconfig, or one that leads to no cluster.
    BadKubeconfig {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// No cluster has this number of control planes.
    ControlPlanes {
        /// The number that was given.
        asked: u8,
    },
    /// The number of control planes is another one than at the first start.
    ControlPlanesStay {
        /// The cluster's name.
        name: String,
        /// The number that was given now.
        asked: u8,
        /// The number of the first start.
        made: u8,
    },
    /// The clock cannot run so many times as fast as real time.
    Clock {
        /// How many times as fast as real time it was to run.
        asked: u32,
    },
    /// An external etcd was given, and the cluster has a store of its own.
    OwnStore {
        /// The cluster's name.
        name: String,
    },
    /// Files for an external etcd were given, and no etcd.
    FilesWithoutEtcd,
    /// The cluster is running already.
    Running {
        /// The cluster's name.
        name: String,
    },
    /// The processes of the cluster are there, and it does not answer yet.
    Starting {
        /// The cluster's name.
        name: String,
        /// The path of its log.
        log: String,
    },
    /// Another program listens on the API's port.
    PortTaken {
        /// The port of 127.0.0.1.
        port: u16,
    },
    /// The user may not listen on the API's port.
    PortForbidden {
        /// The port of 127.0.0.1, mostly one below 1024.
        port: u16,
    },
    /// Namespaces on a foreign cluster would be forgotten.
    ForeignNamespaces {
        /// The namespaces.
        names: Vec<String>,
        /// Where they are written down.
        ledger: String,
    },
    /// Namespaces on a foreign cluster would be forgotten: what names them cannot be read.
    BadLedger {
        /// Where they are written down.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The cluster has no node of this name.
    NoSuchNode {
        /// The name that was given.
        node: String,
        /// Names of the nodes that there are.
        known: Vec<String>,
    },
    /// There is no component of this name.
    NoSuchComponent {
        /// The name that was given.
        component: String,
        /// Names of components that can be given.
        known: Vec<String>,
    },
    /// The component does not run on these nodes.
    NotOnNodes {
        /// The component's name.
        component: String,
        /// Names of the nodes.
        nodes: Vec<String>,
    },
    /// The component has ended, and is started again after a back-off.
    Waits {
        /// The component as it was given: `etcd`, `etcd/NODE`.
        component: String,
    },
    /// The component has ended, and the kubelet that would start it again is held down.
    Asleep {
        /// The component: `etcd/NODE`.
        component: String,
        /// The node's name.
        node: String,
    },
    /// A link was to be cut between a node and itself.
    OneNode {
        /// The node's name.
        node: String,
    },
    /// The share of lost packets is not a number from 0 to 100.
    NotAShare {
        /// What was given.
        percent: String,
    },
    /// The delay of a link is longer than the longest one.
    TooSlow {
        /// The delay that was given, in milliseconds.
        millis: u64,
    },
    /// The node was to be started, and is on.
    NodeRuns {
        /// The node's name.
        node: String,
    },
    /// The node has to be on for this.
    NodeOff {
        /// The node's name.
        node: String,
    },
    /// The component is held down already.
    Stopped {
        /// The component as it was given: `etcd`, `etcd/NODE`.
        component: String,
    },
    /// No `fault stop` holds the component down.
    NotStopped {
        /// The component as it was given.
        component: String,
    },
    /// The node runs no member of this cluster's store.
    NoStore {
        /// The node's name.
        node: String,
    },
    /// The kernel cannot delay packets.
    NoNetem {
        /// The kernel's reason.
        why: String,
    },
    /// No kubectl command has been recorded yet.
    NothingTraced,
    /// No step is left that can be undone.
    NothingToUndo,
    /// No undo was done, a write has followed it, or the state before it is no longer kept.
    NothingToRedo,
    /// More steps were to be undone than there are.
    FewerSteps {
        /// How many steps were to be undone.
        asked: usize,
    },
    /// The revision is below 1, above the newest one, or from before the cluster's own namespaces
    /// and roles.
    NoSuchRevision {
        /// The revision that was given.
        revision: i64,
    },
    /// The addons were made after the revision that would be gone back to.
    BeforeAddons,
    /// The cluster has changed since a person agreed to a plan, which would do something else now.
    PlanChanged,
    /// The revision was compacted.
    RevisionGone {
        /// The revision that was given.
        revision: i64,
    },
    /// The external etcd cannot be used.
    NoEtcd {
        /// Its URLs, as the sentence names them.
        endpoints: String,
        /// What the last server said, or why none was reached.
        why: String,
    },
    /// The external etcd holds the objects of another cluster.
    EtcdTaken {
        /// Its URLs, as the sentence names them.
        endpoints: String,
    },
    /// No API server answers: none runs, or the store has no majority.
    NoAnswer {
        /// The innermost cause, e.g. that the connection was refused.
        why: String,
    },
    /// A session on a foreign cluster was asked for what only Ropewalk's own cluster has.
    OnlyAtHome {
        /// The command, e.g. `fault`.
        what: String,
        /// The address of the cluster that the session is on.
        url: String,
    },
    /// A foreign cluster refuses what a lesson needs.
    #[serde(rename = "far")] // the name that earlier programs have for it on the control socket
    ForeignCluster(ForeignRefusal),
    /// Namespaces of lessons were to be given up on a cluster that has none: it is Ropewalk's own.
    #[serde(rename = "noRooms")] // as earlier programs name it on the control socket
    NoLessonNamespaces {
        /// The cluster's name.
        name: String,
    },
    /// The time is before the oldest write that the tap remembers.
    TooLongAgo {
        /// The earliest time that is remembered, as text.
        oldest: String,
    },
}

texts! {
    enum Word {
        Running: "cluster {} is already running; see `ropewalk status --name {}`, or stop it with `ropewalk down --name {}`", "{} 클러스터는 이미 실행 중입니다. 상태는 `ropewalk status --name {}`, 멈추기는 `ropewalk down --name {}`입니다";
        NoHome: "neither HOME nor ROPEWALK_HOME is set; set one of them", "HOME과 ROPEWALK_HOME이 모두 설정되어 있지 않습니다. 둘 중 하나를 설정하세요";
        NotText: "the path {} is not UTF-8; set ROPEWALK_HOME to one that is", "{} 경로는 UTF-8이 아닙니다. ROPEWALK_HOME을 UTF-8 경로로 지정하세요";
        BadName: "{} cannot name a cluster: use up to 40 lower-case letters, digits and '-', beginning and ending with a letter or digit", "{} 값은 클러스터 이름이 될 수 없습니다. 영문 소문자, 숫자, '-'를 40자까지 쓰고, 처음과 끝은 소문자나 숫자여야 합니다";
        LongPath: "the path {} is too long for a socket; set ROPEWALK_HOME to a shorter one", "{} 경로는 소켓에 쓰기에 너무 깁니다. ROPEWALK_HOME을 더 짧은 경로로 지정하세요";
        Foreign: "{} is not a cluster of ropewalk's own, and cannot be started here; open it with --kubeconfig FILE", "{} 클러스터는 kubeconfig로 연결한 클러스터이므로 여기서 시작할 수 없습니다. --kubeconfig 파일 옵션으로 여세요";
        BadKubeconfig: "{} cannot be used as a kubeconfig: {}; it was left as it is", "{} 파일을 kubeconfig로 쓸 수 없습니다: {}. 파일은 그대로 두었습니다";
        ControlPlanes: "--control-planes {}: use 1, 3 or 5; an even number of members survives no more failures than one fewer", "--control-planes {}: 1, 3, 5 중 하나를 쓰세요. 짝수 개의 멤버는 하나 적을 때보다 더 많은 장애를 견디지 못합니다";
        ControlPlanesStay: "--control-planes {}: cluster {} was made with {}, and its store keeps its members; start another with --name, or wipe this one with `ropewalk reset --name {}`", "--control-planes {}: {} 클러스터는 컨트롤 플레인 {}개로 만들어졌고 저장소의 멤버는 바뀌지 않습니다. --name으로 다른 클러스터를 시작하거나 `ropewalk reset --name {}` 명령으로 삭제하세요";
        Clock: "--clock {}: use a whole number from 1 (real time) to {}", "--clock {}: 1(실제 시간)부터 {}까지의 정수를 쓰세요";
        OwnStore: "--etcd: cluster {} was made with a store of its own, where its objects are; start another with --name, or wipe this one with `ropewalk reset --name {}`", "--etcd: {} 클러스터의 오브젝트는 자체 저장소에 있습니다. --name으로 다른 클러스터를 시작하거나 `ropewalk reset --name {}` 명령으로 삭제하세요";
        FilesWithoutEtcd: "--etcd-cafile, --etcd-certfile and --etcd-keyfile need --etcd at the first start", "처음 시작할 때 --etcd-cafile, --etcd-certfile, --etcd-keyfile을 쓰려면 --etcd가 필요합니다";
        Starting: "cluster {} is being started, or does not end; try again in a moment, and see {}", "{} 클러스터가 시작되는 중이거나 종료되지 않습니다. 잠시 뒤 다시 실행하고, 계속되면 {} 파일을 확인하세요";
        ForeignNamespaces: "these namespaces are still on the other cluster: {}; delete them with `ropewalk lesson leave --kubeconfig FILE`, or, if that cluster is gone, remove {}", "다른 클러스터에 네임스페이스가 남아 있습니다: {}. `ropewalk lesson leave --kubeconfig 파일`로 삭제하세요. 그 클러스터가 이미 없다면 {} 파일을 삭제하세요";
        BadLedger: "{} cannot be read: {}; it names the namespaces that lessons have on the other cluster. Mend it, or delete those with the label app.kubernetes.io/managed-by=ropewalk there and remove the file", "{} 파일을 읽을 수 없습니다: {}. 이 파일에는 강의가 다른 클러스터에 만든 네임스페이스가 적혀 있습니다. 파일을 고치거나, 그 클러스터에서 app.kubernetes.io/managed-by=ropewalk 레이블이 있는 네임스페이스를 삭제한 뒤 이 파일을 삭제하세요";
        PortForbidden: "port {} of 127.0.0.1 is not allowed for this user; choose one above 1023 with --api-port", "127.0.0.1의 {}번 포트는 이 사용자에게 허용되지 않습니다. --api-port로 1023보다 큰 포트를 고르세요";
        PortTaken: "port {} of 127.0.0.1 is taken; choose another with --api-port (a port that was named once is kept for later starts)", "127.0.0.1의 {}번 포트를 다른 프로그램이 쓰고 있습니다. --api-port로 다른 포트를 고르세요. 한 번 지정한 포트는 다음 시작에도 쓰입니다";
        NoSuchNode: "there is no node {}; there are {}", "{} 노드는 없습니다. 있는 노드: {}";
        NoSuchComponent: "there is no component {}; there are {}", "{} 컴포넌트는 없습니다. 있는 컴포넌트: {}";
        NotOnNodes: "{} does not run on {}; `kubectl get pods -n kube-system -o wide` shows where it runs", "{} 컴포넌트는 다음 노드에서 실행되고 있지 않습니다: {}. 실행 중인 노드는 `kubectl get pods -n kube-system -o wide` 명령으로 볼 수 있습니다";
        Waits: "{} has ended already, and starts again by itself when its back-off is over", "{} 컴포넌트는 이미 종료되었고, 백오프가 끝나면 저절로 다시 시작됩니다";
        Asleep: "{} has ended already, and starts when the kubelet of its node runs again: `ropewalk fault start kubelet/{}`", "{} 컴포넌트는 이미 종료되었고, 그 노드의 kubelet이 다시 실행되어야 시작합니다. `ropewalk fault start kubelet/{}` 명령으로 kubelet을 시작하세요";
        OneNode: "{} has no link to itself; name two nodes", "{} 노드에는 자기 자신과의 연결이 없습니다. 서로 다른 두 노드를 적으세요";
        NotAShare: "{} is not a share in percent; write a number from 0 to 100", "{} 값은 백분율이 아닙니다. 0부터 100까지의 수를 적으세요";
        TooSlow: "a link cannot be delayed by {} ms; write at most {}, or cut the link with `ropewalk fault cut A B`", "연결을 {} ms 늦출 수는 없습니다. {} 이하를 적거나, `ropewalk fault cut A B`로 연결을 끊으세요";
        NodeRuns: "{} is running", "{} 노드는 이미 켜져 있습니다";
        NodeOff: "{} is off; `ropewalk fault node start {}` starts it", "{} 노드는 꺼져 있습니다. `ropewalk fault node start {}` 명령으로 켤 수 있습니다";
        Stopped: "{} is stopped already; `ropewalk fault start {}` starts it", "{} 컴포넌트는 이미 멈춰 있습니다. `ropewalk fault start {}` 명령으로 다시 시작할 수 있습니다";
        NotStopped: "{} was not stopped with `fault stop`; `ropewalk fault list` shows what is broken", "{} 컴포넌트는 `fault stop`으로 멈춘 것이 아닙니다. 무엇이 고장 났는지는 `ropewalk fault list`로 볼 수 있습니다";
        NoStore: "{} keeps no store: only control planes do, and only where `up` was not told of an etcd elsewhere", "{}에는 저장소가 없습니다. 저장소는 컨트롤 플레인에만 있으며, `up --etcd`로 외부 etcd를 쓰면 없습니다";
        NoNetem: "the kernel cannot delay packets here ({}); try `sudo modprobe sch_netem`", "이 커널은 패킷을 늦추지 못합니다({}). `sudo modprobe sch_netem`을 시도하세요";
        NothingTraced: "no command has been traced yet; run a command of kubectl or curl first", "아직 추적한 명령이 없습니다. kubectl이나 curl 명령을 먼저 실행하세요";
        NothingToUndo: "there is nothing to undo", "되돌릴 단계가 없습니다";
        NothingToRedo: "there is nothing to redo", "다시 실행할 단계가 없습니다";
        FewerSteps: "{} steps cannot be undone: there are fewer; `undo --list` shows them", "{}단계를 되돌릴 수 없습니다. 단계가 그만큼 없습니다. `undo --list`로 볼 수 있습니다";
        NoSuchRevision: "revision {} is none of this cluster's; `undo --list` shows the steps and their revisions", "{}번은 이 클러스터에 없는 리비전입니다. `undo --list`로 단계와 리비전을 볼 수 있습니다";
        BeforeAddons: "the cluster does not go back to a time before its addons (DNS, kube-proxy, the default StorageClass): nothing would make them again before the next start; use `rewind REVISION` with a later revision", "애드온(DNS, kube-proxy, 기본 스토리지클래스)이 생기기 전으로는 되돌릴 수 없습니다. 클러스터를 다시 시작할 때까지 애드온이 다시 만들어지지 않기 때문입니다. `rewind 리비전`으로 더 나중의 리비전을 지정하세요";
        PlanChanged: "the cluster was changed while the question stood, so nothing was done; run the command again to see what it would do now", "묻는 동안 클러스터가 바뀌어서 아무것도 하지 않았습니다. 명령을 다시 실행하면 지금 무엇이 바뀌는지 볼 수 있습니다";
        RevisionGone: "revision {} is no longer kept; `undo --list` shows how far back it goes", "{}번 리비전은 더 이상 보관되어 있지 않습니다. 어디까지 되돌릴 수 있는지는 `undo --list`로 볼 수 있습니다";
        NoEtcd: "the etcd at {} cannot be used: {}; check --etcd, and for https --etcd-cafile, --etcd-certfile and --etcd-keyfile", "{} etcd를 쓸 수 없습니다: {}. --etcd를 확인하고, https라면 --etcd-cafile, --etcd-certfile, --etcd-keyfile도 확인하세요";
        EtcdTaken: "the etcd at {} holds the objects of another cluster, which its key {} names if Ropewalk made it; a directory that was renamed needs its old name, and a copied one is another cluster. Give this cluster an etcd of its own, or remove what the other one has left: etcdctl del --prefix for each of /registry/, /ropewalk/ and /ropewalk.io/", "{} etcd에는 다른 클러스터의 오브젝트가 있습니다. Ropewalk가 만든 클러스터라면 {} 키로 알 수 있습니다. 클러스터 디렉터리의 이름을 바꾸었다면 원래 이름으로 되돌리세요. 복사한 디렉터리는 다른 클러스터입니다. 이 클러스터에 다른 etcd를 지정하거나, /registry/, /ropewalk/, /ropewalk.io/ 각각에 `etcdctl del --prefix` 명령을 실행해 다른 클러스터가 남긴 데이터를 삭제하세요";
        NoAnswer: "no API server answers ({}); `ropewalk status` and `ropewalk fault list` show why", "응답하는 API 서버가 없습니다({}). `ropewalk status`와 `ropewalk fault list`로 원인을 확인하세요";
        OnlyAtHome: "`{}` needs Ropewalk's own cluster; this session is on {}. Without --kubeconfig, `ropewalk` starts one", "`{}` 명령은 Ropewalk 자체 클러스터에서만 쓸 수 있습니다. 이 세션은 {} 클러스터에 연결되어 있습니다. --kubeconfig 없이 `ropewalk` 명령을 실행하면 자체 클러스터가 시작됩니다";
        NoLessonNamespaces: "this cluster is Ropewalk's own; `ropewalk reset --name {}` wipes it", "이 클러스터는 Ropewalk 자체 클러스터입니다. `ropewalk reset --name {}` 명령으로 삭제할 수 있습니다";
        TooLongAgo: "nothing is remembered from before {}; `rewind REVISION` reaches further back", "{} 이전은 기억하지 못합니다. `rewind 리비전`으로는 더 앞까지 갈 수 있습니다";
    }
}

impl Refusal {
    /// Returns whether the command line is wrong, whatever the cluster is like.
    pub fn is_usage(&self) -> bool {
        use Refusal::{BadName, Clock, ControlPlanes, FilesWithoutEtcd, NotAShare, OneNode, TooSlow};
        matches!(
            self,
            BadName { .. }
                | Clock { .. }
                | ControlPlanes { .. }
                | FilesWithoutEtcd
                | NotAShare { .. }
                | OneNode { .. }
                | TooSlow { .. }
        )
    }

    /// Returns the refusal as a sentence for people: what is wrong, and what to do about it.
    pub fn say(&self, lang: Lang) -> String {
        let say = |word: Word, with: &[&str]| lang.say(word, with);
        match self {
            Refusal::NoHome => say(Word::NoHome, &[]),
            Refusal::NotText { path } => say(Word::NotText, &[path]),
            Refusal::BadName { name } => say(Word::BadName, &[&format!("{name:?}")]),
            Refusal::LongPath { path } => say(Word::LongPath, &[path]),
            Refusal::Foreign { name } => say(Word::Foreign, &[name]),
            Refusal::BadKubeconfig { path, why } => say(Word::BadKubeconfig, &[path, why]),
            Refusal::ControlPlanes { asked } => say(Word::ControlPlanes, &[&asked.to_string()]),
            Refusal::ControlPlanesStay { name, asked, made } => {
                say(Word::ControlPlanesStay, &[&asked.to_string(), name, &made.to_string(), name])
            }
            Refusal::Clock { asked } => {
                say(Word::Clock, &[&asked.to_string(), &clock::SCALE_MAX.to_string()])
            }
            Refusal::OwnStore { name } => say(Word::OwnStore, &[name, name]),
            Refusal::FilesWithoutEtcd => say(Word::FilesWithoutEtcd, &[]),
            Refusal::Running { name } => say(Word::Running, &[name, name, name]),
            Refusal::Starting { name, log } => say(Word::Starting, &[name, log]),
            Refusal::PortTaken { port } => say(Word::PortTaken, &[&port.to_string()]),
            Refusal::PortForbidden { port } => say(Word::PortForbidden, &[&port.to_string()]),
            Refusal::ForeignNamespaces { names, ledger } => {
                say(Word::ForeignNamespaces, &[&names.join(", "), ledger])
            }
            Refusal::BadLedger { path, why } => say(Word::BadLedger, &[path, why]),
            Refusal::NoSuchNode { node, known } => {
                say(Word::NoSuchNode, &[&quoted_if_blank(node), &known.join(", ")])
            }
            Refusal::NoSuchComponent { component, known } => {
                say(Word::NoSuchComponent, &[&quoted_if_blank(component), &known.join(", ")])
            }
            Refusal::NotOnNodes { component, nodes } => {
                say(Word::NotOnNodes, &[component, &nodes.join(", ")])
            }
            Refusal::Waits { component } => say(Word::Waits, &[component]),
            Refusal::Asleep { component, node } => say(Word::Asleep, &[component, node]),
            Refusal::OneNode { node } => say(Word::OneNode, &[node]),
            Refusal::NotAShare { percent } => say(Word::NotAShare, &[percent]),
            Refusal::TooSlow { millis } => {
                say(Word::TooSlow, &[&millis.to_string(), &super::faults::DELAY_MAX.to_string()])
            }
            Refusal::NodeRuns { node } => say(Word::NodeRuns, &[node]),
            Refusal::NodeOff { node } => say(Word::NodeOff, &[node, node]),
            Refusal::Stopped { component } => say(Word::Stopped, &[component, component]),
            Refusal::NotStopped { component } => say(Word::NotStopped, &[component]),
            Refusal::NoStore { node } => say(Word::NoStore, &[node]),
            Refusal::NoNetem { why } => say(Word::NoNetem, &[why]),
            Refusal::NothingTraced => say(Word::NothingTraced, &[]),
            Refusal::NothingToUndo => say(Word::NothingToUndo, &[]),
            Refusal::NothingToRedo => say(Word::NothingToRedo, &[]),
            Refusal::FewerSteps { asked } => say(Word::FewerSteps, &[&asked.to_string()]),
            Refusal::NoSuchRevision { revision } => say(Word::NoSuchRevision, &[&revision.to_string()]),
            Refusal::BeforeAddons => say(Word::BeforeAddons, &[]),
            Refusal::PlanChanged => say(Word::PlanChanged, &[]),
            Refusal::RevisionGone { revision } => say(Word::RevisionGone, &[&revision.to_string()]),
            Refusal::NoEtcd { endpoints, why } => say(Word::NoEtcd, &[endpoints, why]),
            Refusal::EtcdTaken { endpoints } => {
                say(Word::EtcdTaken, &[endpoints, super::store::external::OWNER])
            }
            Refusal::NoAnswer { why } => say(Word::NoAnswer, &[why]),
            Refusal::OnlyAtHome { what, url } => say(Word::OnlyAtHome, &[what, url]),
            Refusal::ForeignCluster(refusal) => refusal.say(lang),
            Refusal::NoLessonNamespaces { name } => say(Word::NoLessonNamespaces, &[name]),
            Refusal::TooLongAgo { oldest } => say(Word::TooLongAgo, &[oldest]),
        }
    }
}

/// Returns a name that was given, in quotes if it could not be seen in a sentence: `""`.
fn quoted_if_blank(name: &str) -> Cow<'_, str> {
    match name.is_empty() || name.contains(char::is_whitespace) {
        true => format!("{name:?}").into(),
        false => name.into(),
    }
}

impl std::error::Error for Refusal {}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.say(Lang::En))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `fault kill ""` said that there is no component, and named all that there are.
    #[test]
    fn a_name_that_is_empty_can_be_seen_in_the_sentence() {
        let component = |name: &str| {
            let known = vec!["etcd".to_string()];
            Refusal::NoSuchComponent { component: name.into(), known }
        };
        assert_eq!(component("").say(Lang::En), "there is no component \"\"; there are etcd");
        assert_eq!(component("").say(Lang::Ko), "\"\" 컴포넌트는 없습니다. 있는 컴포넌트: etcd");
        assert_eq!(component("etc").say(Lang::En), "there is no component etc; there are etcd");
        let node = Refusal::NoSuchNode { node: " ".into(), known: vec!["n1".into()] };
        assert_eq!(node.say(Lang::En), "there is no node \" \"; there are n1");
    }

    /// A session and a command of an earlier program read each other's refusals.
    #[test]
    fn a_refusal_keeps_its_name_on_the_control_socket() {
        let [url, context, said] = ["u", "c", "s"].map(String::from);
        let foreign = Refusal::ForeignCluster;
        for (refused, sent) in [
            (
                foreign(ForeignRefusal::NamesTaken { url: "u".into() }),
                r#"{"far":{"namesTaken":{"url":"u"}}}"#,
            ),
            (
                foreign(ForeignRefusal::UserRejected { url, context, said }),
                r#"{"far":{"stranger":{"url":"u","context":"c","said":"s"}}}"#,
            ),
            (
                foreign(ForeignRefusal::StillTerminating { namespace: "n".into() }),
                r#"{"far":{"stillGoing":{"namespace":"n"}}}"#,
            ),
            (Refusal::NoLessonNamespaces { name: "t".into() }, r#"{"noRooms":{"name":"t"}}"#),
        ] {
            assert_eq!(serde_json::to_string(&refused).unwrap(), sent);
        }
    }
}
