//! Everything that can happen in a cluster, one variant each.

use super::fault::Fault;
use super::parts::{Answer, Call, Decision, Lookup, Peer, ProgressState, RaftRole, VoteRefusal, Write};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What happened: the part of a [`Record`](crate::Record) that differs from event to event.
///
/// The record says the rest: when, on which node, which component, about which object, which
/// revision was written or seen, what caused it, and how long it took. In JSON an event is two keys
/// of its record, `verb` and `detail`. This is a scheduling decision:
///
/// ```json
/// {"seq":41,"component":"kube-scheduler","verb":"schedule","object":{"resource":"pods",
///  "namespace":"default","name":"web"},"cause":{"revision":212},"tookUs":184,
///  "detail":{"verdicts":[{"node":"worker","scores":{"TaintToleration":300},"total":300}],
///            "chosen":"worker"}}
/// ```
///
/// [This room's chapter](crate) follows one command from end to end.
///
/// # Adding an event
///
/// Add a variant, its verb in [`verb`](Event::verb) and [`VERBS`](Event::VERBS), and one line to
/// `events.jsonl`. The tests of this room fail until all of them agree. The JSON form of an event
/// is read by lessons and by other programs: keys are added, never renamed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", content = "detail", rename_all = "kebab-case")]
pub enum Event {
    // The API server: the stages of one request, in their order. All carry `request`, and all
    // requests that only read skip `Admit`, `Validate` and `Commit`.
    //
    //     kubectl delete pod web
    //     → Authenticate{groups: [system:masters]}  Authorize  Commit{deleting}  Answer{delete}
    /// The request's user is known.
    Authenticate {
        /// The groups of the user; RBAC grants rights to them as well.
        #[serde(default)]
        groups: Vec<String>,
    },
    /// The user may do what the request asks for.
    Authorize,
    /// The mutating admission plug-ins have run. Holds what they set, by plug-in:
    /// `{"serviceAccount": "default", "priority": 0}`; null if they set nothing.
    /// A second one of a request holds `auditAnnotations`, which admission policies note.
    Admit(Value),
    /// The object as it would be stored is valid.
    Validate,
    /// A write is in the store. The record's `revision` is the one that it made, its `body` the
    /// object. One record for each object that the request changed.
    Commit(Write),
    /// The request was answered with `request.code`.
    Answer(Box<Answer>),
    /// The store of a foreign cluster is at the record's `revision`. Nothing was written: a list
    /// said so.
    Now,

    // etcd: Raft's log first. A proposal is appended on a majority of members, then it is
    // committed, then each member applies it to its own key-value state.
    //
    //     member 1 (leader)  Append{last: 812, term: 5}  CommitEntry{index: 812, term: 5}
    //     member 2           Append{last: 812, term: 5}            CommitEntry{index: 812, term: 5}
    /// Log entries are on this member's disk. The record's `took` is the time of the fsync.
    Append {
        /// Entries that this one fsync covers.
        batch: usize,
        /// Their bytes.
        #[serde(default)]
        bytes: usize,
        /// The index of the last of them.
        last: u64,
        /// The term of the last of them.
        term: u64,
    },
    /// A committed entry is applied on this member and made the record's `revision`. In JSON its
    /// verb is `commit`, too; the component tells it from [`Commit`](Event::Commit).
    CommitEntry {
        /// The entry's place in the log.
        index: u64,
        /// The term of the leader that proposed it.
        term: u64,
        /// How long the fsync of its batch took here, in microseconds; `None` if that is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fsync_us: Option<u64>,
        /// Entries in that batch; 0 if that is not known.
        #[serde(default)]
        batch: usize,
    },
    /// Entries that another leader replaced are cut off the log.
    Truncate {
        /// The first index that is gone.
        from: u64,
    },
    /// Entries that a snapshot covers are dropped from the log.
    CompactLog {
        /// The last index that is dropped.
        upto: u64,
    },
    /// This member was too far behind, and took the leader's whole state.
    InstallSnapshot {
        /// The last entry that the state holds.
        index: u64,
    },

    // etcd: its clients outside of the cluster. The API server calls the store within the program,
    // and has records of its own.
    //
    //     etcdctl get foo      Call{method: get, key: foo, count: 1}
    //     etcdctl watch foo    Call{method: watch, key: foo}  …  Call{…, events: ["DELETE foo"]}
    /// A client outside of the cluster called this member.
    Call(Call),

    // etcd: elections. A member that hears no leader asks for votes. It asks for pre-votes first,
    // so that a member which was cut off does not raise the term in vain.
    //
    //     member 2  ElectionTimeout{term: 4}  Role{PreCandidate, term: 4}
    //     member 3  Vote{to: member 2, term: 5, pre: true}
    //     member 2  Role{Candidate, term: 5}  Vote{to: member 2, term: 5}
    //     member 3  Vote{to: member 2, term: 5}
    //     member 2  Role{Leader, term: 5}     Leader{leader: member 2, term: 5}
    /// No heartbeat came within the election timeout.
    ElectionTimeout {
        /// The term in which the leader was silent.
        term: u64,
    },
    /// This member's role changed.
    Role {
        /// The member's term.
        term: u64,
        /// The new role.
        role: RaftRole,
    },
    /// This member knows another leader than before.
    Leader {
        /// The member's term.
        term: u64,
        /// The leader's name; empty: it knows none.
        leader: String,
    },
    /// This member gave its vote.
    Vote {
        /// The term of the election.
        term: u64,
        /// The candidate.
        to: String,
        /// True for a pre-vote, which binds no voter.
        #[serde(default)]
        pre: bool,
    },
    /// This member refused its vote.
    RefuseVote {
        /// The term of the election.
        term: u64,
        /// The candidate.
        to: String,
        /// True for a pre-vote.
        #[serde(default)]
        pre: bool,
        /// The reason.
        why: VoteRefusal,
    },
    /// A leader hands the lead to another member.
    Transfer {
        /// The member that shall lead.
        to: String,
    },
    /// A leader gave the lead up.
    StepDown {
        /// The reason, in words: it heard of no majority, for example.
        why: String,
    },
    /// The members of the cluster changed.
    ConfChange {
        /// The members that vote.
        voters: Vec<String>,
        /// The members that only follow the log.
        learners: Vec<String>,
    },
    /// A leader treats a follower in another way than before.
    Progress {
        /// The follower.
        member: String,
        /// How the leader sends to it now.
        state: ProgressState,
    },
    /// The connection to another member is there.
    PeerActive(Peer),
    /// The connection to another member is lost.
    PeerLost(Peer),

    // etcd: its disk. While the log waits for its disk, writes are refused and reads go on.
    //
    //     DiskFull{error: "…: No space left on device"}  …  DiskHasRoom
    /// The log's disk is full; writes wait.
    DiskFull {
        /// The error of the system call.
        error: String,
    },
    /// The disk has space again; writes go on.
    DiskHasRoom {},
    /// The log cannot be written for another reason and is tried again; writes wait.
    LogWaits {
        /// The error of the system call.
        error: String,
    },
    /// The log can be written again.
    LogGoesOn {},
    /// The log cannot be written at all: this member takes no writes until it is started again.
    DiskFailed {
        /// The error of the system call.
        error: String,
    },
    /// The last write before this start was interrupted. Its half record was cut off the log.
    CutTornTail {
        /// The file of the log.
        path: String,
        /// The bytes of the file that were kept.
        offset: u64,
    },

    // The scheduler and the controller manager run on each control plane; of each, one leads.
    /// The process holds the record's Lease and begins to work.
    Lead,

    // The scheduler: filters nodes, scores those that are left, binds.
    //
    //     Schedule{chosen: worker, verdicts: [worker: 548, control-plane: untolerated taint]}
    //     Bind{node: worker}
    /// A decision about a pod, with the verdict on each node.
    Schedule(Decision),
    /// The pod is bound to the node: the API server has accepted the binding.
    Bind {
        /// The node.
        node: String,
    },

    // The kubelet: a node's pods. The record's `object` is the pod.
    //
    //     Sandbox{attempt: 0}  Pull{image: nginx}  Start{container: web, attempt: 0}
    //     Status{phase: Running}
    /// The node's kubelet registered its Node object.
    Register,
    /// The pod has a sandbox: its network namespace and its address.
    Sandbox {
        /// How many sandboxes the pod has had before this one.
        attempt: u32,
    },
    /// An image was pulled for a container, or could not be.
    Pull {
        /// The image, as the pod names it.
        image: String,
        /// Why it could not be pulled.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A container runs.
    Start {
        /// The container.
        container: String,
        /// How often it was started before.
        attempt: u32,
    },
    /// A container was stopped, because its pod goes or because its probe failed.
    Stop {
        /// The container.
        container: String,
    },
    /// The pod's status was written to the API server.
    Status {
        /// `Pending`, `Running`, `Succeeded`, `Failed`.
        phase: String,
    },
    /// A command that was run in a container with `kubectl exec` ended. The record's `cause` is the
    /// request.
    Exec {
        /// Its exit code; 126 if it could not be run.
        exit: i32,
    },

    // Services: a controller lists the pods behind each, each node's proxy writes rules for them.
    //
    //     Endpoints{ready: 3, all: 3}  →  Rules{rules: 14, changed: 2}
    /// The endpoints of a Service were written.
    Endpoints {
        /// Pods that get connections.
        ready: usize,
        /// All pods that the Service selects and that have an address.
        all: usize,
    },
    /// The node's rules were written.
    Rules {
        /// Rules that the node has now.
        rules: usize,
        /// Those of them that were added or removed.
        changed: usize,
    },
    /// Other NodePorts are open on this machine's `localhost` than before.
    Ports {
        /// Those that lead to a ready node.
        open: Vec<u16>,
    },
    /// Connections came in through a NodePort on `localhost`. The record's `object` is the Service.
    Visit {
        /// The port.
        port: u16,
        /// Connections since the record before.
        connections: u64,
    },

    // Names: who looked what up, and what the answer was. A resolver tries the names of its search
    // list one after the other.
    //
    //     wget http://web      Lookup{name: web.default.svc.cluster.local, code: NOERROR}
    /// The name server answered a question.
    Lookup(Lookup),

    // Workloads: each controller compares what is wanted with what is there, and acts. All of these
    // have the verb `reconcile`, `create` or `scale` in JSON; the component tells them apart.
    //
    //     kubectl scale deployment web --replicas=3
    //     deployment-controller  ScaleReplicaSet{replicaSet: web-65c, from: 1, to: 3}
    //     replicaset-controller  ReconcileReplicaSet{wanted: 3, have: 1, create: 2}
    /// A Deployment's controller made a ReplicaSet: `create`.
    CreateReplicaSet {
        /// The new ReplicaSet.
        #[serde(rename = "replicaSet")]
        replica_set: String,
        /// Always 0.
        from: i32,
        /// Its replicas.
        to: i32,
        /// The Deployment's revision that it stands for.
        revision: i64,
    },
    /// A Deployment's controller changed the replicas of a ReplicaSet: `scale`.
    ScaleReplicaSet {
        /// The ReplicaSet.
        #[serde(rename = "replicaSet")]
        replica_set: String,
        /// Replicas before.
        from: i32,
        /// Replicas now.
        to: i32,
    },
    /// The controller of a ReplicaSet or a ReplicationController made or deleted pods: `reconcile`.
    ReconcileReplicaSet {
        /// Replicas that are wanted.
        wanted: usize,
        /// Pods that count as replicas before this.
        have: usize,
        /// Pods that were made.
        create: usize,
        /// Names of pods that were deleted.
        delete: Vec<String>,
    },
    /// A DaemonSet's controller made or deleted pods: `reconcile`.
    ReconcileDaemonSet {
        /// Nodes that get a pod.
        create: Vec<String>,
        /// Names of pods that were deleted.
        delete: Vec<String>,
    },
    /// A StatefulSet's controller made or deleted pods: `reconcile`.
    ReconcileStatefulSet {
        /// Ordinals of pods that were made.
        create: Vec<i32>,
        /// Names of pods that were deleted.
        delete: Vec<String>,
    },
    /// A Job's controller made or deleted pods: `reconcile`.
    ReconcileJob {
        /// Pods that were made.
        create: usize,
        /// Names of pods that were deleted.
        delete: Vec<String>,
        /// Completion indexes of the new pods of an indexed Job.
        indexes: Vec<i32>,
    },
    /// A finished Job's `ttlSecondsAfterFinished` is over, and the Job was deleted.
    Expire {},
    /// A CronJob's time has come, and its controller made a Job: `create`.
    CreateJob {
        /// The new Job.
        job: String,
    },
    /// The autoscaler changed the scale of a workload: `scale`.
    ScaleTarget {
        /// Replicas before.
        from: i32,
        /// Replicas now.
        to: i32,
        /// The metric that asked for it, in words.
        reason: String,
    },

    // Limits, volumes, certificates, roles.
    /// A PodDisruptionBudget's status was counted anew: `reconcile`.
    ReconcileBudget {
        /// Pods that the budget's selector should find.
        expected: i32,
        /// Pods that are healthy now.
        healthy: i32,
        /// Pods that must be healthy.
        desired: i32,
        /// Evictions that are allowed now.
        allowed: i32,
    },
    /// A ResourceQuota's use was counted anew: `reconcile`.
    ReconcileQuota {
        /// The use by resource, as in the quota's status: `{"pods": "3"}`.
        used: Value,
    },
    /// A claim has its volume: `bind`.
    BindVolume {
        /// The PersistentVolume.
        volume: String,
    },
    /// A volume was made for a claim.
    Provision {
        /// The new PersistentVolume.
        volume: String,
        /// The node whose disk holds it.
        node: String,
    },
    /// An approved certificate request was signed.
    Sign,
    /// An approved certificate request cannot be signed; its condition says why.
    Refuse,
    /// The rules of an aggregated ClusterRole were joined anew.
    Aggregate,

    // What goes. An object whose owner is gone is collected; a silent node's pods are evicted.
    //
    //     kubectl delete deployment web
    //     garbage-collector  Collect (the ReplicaSet)  Collect (each of its pods)
    /// An object was deleted because its owner, or its node, is gone. Of pods also one that is
    /// being deleted and was never bound, and an ended one beyond those that are kept.
    Collect,
    /// A namespace is empty and was deleted.
    Finalize,
    /// A node's kubelet has been silent for the record's `took`.
    NodeNotReady,
    /// A pod was evicted from a node because of a `NoExecute` taint: the node controller's own, of
    /// a node that is not ready, or that of `kubectl taint`.
    Evict,

    // Faults on purpose: `ropewalk fault`, a lesson, a lab.
    /// Something was broken, or mended.
    Fault(Fault),
}
