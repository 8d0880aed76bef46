//! Every kind that is served, in the order in which a real server lists its groups.

use super::{
    ALL, CREATE, Conversion, Kind, SCALE, STATUS_VERBS, Sub, authentication, authorization, coordination,
    metrics, of, policy, prepare_status, rbac, scheduling, status, sub, workload,
};
use crate::autoscaling as autoscaling_versions;
use crate::custom::definition;
use crate::defaults::{
    autoscaling as scaling, certificates, cluster, networking, pods, services, storage, workloads,
};
use crate::events;
use crate::kinds::workload::SCALE_PATHS;
use crate::published;
use crate::table as print;
use crate::validate::names::{dns_1035, dns_label, path_segment};
use crate::validate::statuses;
use crate::validate::{
    autoscaling as check_scaling, certificates as check_certificates, core as check,
    networking as check_networking, pods as check_pods, policy as check_policy, services as check_services,
    storage as check_storage, workloads as check_workloads,
};
use k8s_openapi::api::{
    apps, autoscaling, batch, certificates as certificate_types, core, discovery,
    networking as networking_types, storage as storage_types,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;

/// Events are kept for an hour after their last change.
const EVENT_TTL_SECS: u32 = 3600;
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject.kind", "involvedObject.kind"),
    ("involvedObject.namespace", "involvedObject.namespace"),
    ("involvedObject.name", "involvedObject.name"),
    ("involvedObject.uid", "involvedObject.uid"),
    ("involvedObject.apiVersion", "involvedObject.apiVersion"),
    ("involvedObject.resourceVersion", "involvedObject.resourceVersion"),
    ("involvedObject.fieldPath", "involvedObject.fieldPath"),
    ("regarding.kind", "involvedObject.kind"),
    ("regarding.namespace", "involvedObject.namespace"),
    ("regarding.name", "involvedObject.name"),
    ("regarding.uid", "involvedObject.uid"),
    ("reason", "reason"),
    ("reportingComponent", "reportingComponent"),
    ("reportingController", "reportingComponent"),
    ("source", "source.component|reportingComponent"),
    ("type", "type"),
];

pub(super) fn table() -> Vec<Kind> {
    let mut all = core_v1();
    all.extend(apps_v1());
    all.push(Kind {
        short_names: &["ev"],
        singular: "event".into(),
        create_on_update: true,
        fields: EVENT_FIELDS,
        printer: Some(&print::core::EVENTS),
        validate: check::event_of_its_group,
        conversion: Some(Conversion {
            to_stored: events::to_core,
            from_stored: events::from_core,
            validate: check::new_event,
        }),
        ..of::<k8s_openapi::api::events::v1::Event>()
    });
    all.extend(authentication::kinds());
    all.extend(authorization::kinds());
    all.extend(autoscalers());
    all.extend([
        Kind {
            short_names: &["cj"],
            categories: &["all"],
            subresources: vec![status("CronJob")],
            has_status: true,
            generation: true,
            defaults: workloads::cron_job,
            prepare: prepare_status,
            validate: check_workloads::cron_job,
            printer: Some(&print::workloads::CRON_JOBS),
            ..of::<batch::v1::CronJob>()
        },
        Kind {
            categories: &["all"],
            subresources: vec![status("Job")],
            has_status: true,
            generation: true,
            orphans: true,
            defaults: workloads::job,
            prepare: workloads::prepare_job,
            validate: check_workloads::job,
            validate_update: check_workloads::job_update,
            validate_status_update: statuses::job,
            immutable: &["spec.selector", "spec.completionMode"],
            fields: &[("status.successful", "status.succeeded")],
            printer: Some(&print::workloads::JOBS),
            ..of::<batch::v1::Job>()
        },
        Kind {
            short_names: &["csr"],
            subresources: vec![
                sub("approval", "CertificateSigningRequest", STATUS_VERBS),
                status("CertificateSigningRequest"),
            ],
            has_status: true,
            name_rule: path_segment,
            prepare: certificates::prepare,
            prepare_update: certificates::prepare_update,
            prepare_status_update: certificates::prepare_status_update,
            resets: certificates::RESETS,
            validate: check_certificates::request,
            validate_status_update: check_certificates::status_update,
            fields: &[("spec.signerName", "spec.signerName")],
            printer: Some(&print::cluster::CERTIFICATE_REQUESTS),
            ..of::<certificate_types::v1::CertificateSigningRequest>()
        },
        Kind {
            generation: true,
            defaults: networking::ingress_class,
            validate: check_networking::ingress_class,
            validate_update: check_networking::ingress_class_update,
            printer: Some(&print::networking::INGRESS_CLASSES),
            ..of::<networking_types::v1::IngressClass>()
        },
        Kind {
            short_names: &["ing"],
            subresources: vec![status("Ingress")],
            has_status: true,
            generation: true,
            prepare: networking::prepare_ingress,
            validate: check_networking::ingress,
            validate_status_update: statuses::ingress,
            printer: Some(&print::networking::INGRESSES),
            ..of::<networking_types::v1::Ingress>()
        },
        Kind {
            short_names: &["netpol"],
            generation: true,
            defaults: networking::network_policy,
            validate: check_networking::network_policy,
            printer: Some(&print::networking::NETWORK_POLICIES),
            ..of::<networking_types::v1::NetworkPolicy>()
        },
    ]);
    all.extend(policy::kinds());
    all.extend(rbac::kinds());
    all.extend([Kind {
        short_names: &["sc"],
        returns_deleted: true,
        defaults: storage::storage_class,
        validate: check_storage::storage_class,
        immutable: &["volumeBindingMode"],
        validate_update: check_storage::storage_class_update,
        printer: Some(&print::cluster::STORAGE_CLASSES),
        ..of::<storage_types::v1::StorageClass>()
    }]);
    all.extend(scheduling::kinds());
    all.extend(coordination::kinds());
    all.extend([Kind {
        generation: true,
        defaults: services::endpoint_slice,
        validate: check_services::endpoint_slice,
        immutable: &["addressType"],
        printer: Some(&print::core::ENDPOINT_SLICES),
        ..of::<discovery::v1::EndpointSlice>()
    }]);
    all.push(Kind {
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        subresources: vec![status("CustomResourceDefinition")],
        has_status: true,
        generation: true,
        needs_version: true,
        returns_deleted: true,
        defaults: definition::defaults,
        prepare: definition::prepare,
        prepare_update: definition::prepare_update,
        prepare_delete: definition::prepare_delete,
        validate: definition::validate,
        validate_update: definition::validate_update,
        ..of::<apiextensions::v1::CustomResourceDefinition>()
    });
    all.extend(metrics::kinds());
    all
}

/// Both versions of the autoscaler; the first is stored.
fn autoscalers() -> [Kind; 2] {
    let common = |kind: Kind| Kind {
        short_names: &["hpa"],
        categories: &["all"],
        subresources: vec![status("HorizontalPodAutoscaler")],
        has_status: true,
        generation: true,
        defaults: scaling::autoscaler,
        prepare: scaling::prepare_autoscaler,
        validate: check_scaling::autoscaler,
        validate_status_update: statuses::autoscaler,
        printer: Some(&print::autoscaling::AUTOSCALERS),
        ..kind
    };
    let old = Conversion {
        to_stored: autoscaling_versions::to_v2,
        from_stored: autoscaling_versions::to_v1,
        validate: |_, _, _| {},
    };
    [
        common(of::<autoscaling::v2::HorizontalPodAutoscaler>()),
        Kind { conversion: Some(old), ..common(of::<autoscaling::v1::HorizontalPodAutoscaler>()) },
    ]
}

fn core_v1() -> Vec<Kind> {
    let pod_subs = vec![
        sub("attach", "PodAttachOptions", &["create", "get"]),
        sub("binding", "Binding", &["create"]),
        sub("ephemeralcontainers", "Pod", STATUS_VERBS),
        Sub { name: "eviction", group: "policy", version: "v1", kind: "Eviction", verbs: CREATE },
        sub("exec", "PodExecOptions", &["create", "get"]),
        sub("log", "Pod", &["get"]),
        sub("portforward", "PodPortForwardOptions", &["create", "get"]),
        status("Pod"),
    ];
    let account_subs = vec![Sub {
        name: "token",
        group: "authentication.k8s.io",
        version: "v1",
        kind: "TokenRequest",
        verbs: CREATE,
    }];
    vec![
        Kind {
            plural: "bindings",
            singular: "binding".into(),
            namespaced: true,
            verbs: CREATE,
            ..of_sub::<core::v1::Binding>()
        },
        Kind {
            short_names: &["cm"],
            validate: check::config_map,
            validate_update: check::config_map_update,
            printer: Some(&print::core::CONFIG_MAPS),
            ..of::<core::v1::ConfigMap>()
        },
        Kind {
            short_names: &["ep"],
            create_on_update: true,
            deprecated: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".into(),
            defaults: services::endpoints,
            validate: check_services::endpoints,
            printer: Some(&print::core::ENDPOINTS),
            ..of::<core::v1::Endpoints>()
        },
        Kind {
            short_names: &["ev"],
            create_on_update: true,
            ttl_secs: EVENT_TTL_SECS,
            fields: EVENT_FIELDS,
            validate: check::event,
            printer: Some(&print::core::EVENTS),
            ..of::<core::v1::Event>()
        },
        Kind {
            short_names: &["limits"],
            create_on_update: true,
            defaults: cluster::limit_range,
            validate: check_policy::limit_range,
            ..of::<core::v1::LimitRange>()
        },
        Kind {
            short_names: &["ns"],
            verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
            subresources: vec![sub("finalize", "Namespace", &["update"]), status("Namespace")],
            has_status: true,
            name_rule: dns_label,
            defaults: cluster::namespace,
            prepare: cluster::prepare_namespace,
            prepare_update: cluster::prepare_namespace_update,
            prepare_status_update: |new, _, _| cluster::namespace(new),
            prepare_delete: cluster::prepare_namespace_delete,
            fields: &[("status.phase", "status.phase")],
            printer: Some(&print::core::NAMESPACES),
            ..of::<core::v1::Namespace>()
        },
        Kind {
            short_names: &["no"],
            subresources: vec![sub("proxy", "NodeProxyOptions", &["create", "get"]), status("Node")],
            has_status: true,
            keeps_first_status: true,
            defaults: cluster::node,
            validate: check::node,
            validate_update: check::node_update,
            fields: &[("spec.unschedulable", "spec.unschedulable")],
            printer: Some(&print::core::NODES),
            ..of::<core::v1::Node>()
        },
        Kind {
            short_names: &["pvc"],
            subresources: vec![status("PersistentVolumeClaim")],
            has_status: true,
            returns_deleted: true,
            defaults: storage::claim,
            prepare: storage::prepare_claim,
            validate: check_storage::claim,
            validate_update: check_storage::claim_update,
            printer: Some(&print::cluster::CLAIMS),
            ..of::<core::v1::PersistentVolumeClaim>()
        },
        Kind {
            short_names: &["pv"],
            subresources: vec![status("PersistentVolume")],
            has_status: true,
            returns_deleted: true,
            defaults: storage::volume,
            prepare: storage::prepare_volume,
            validate: check_storage::volume,
            validate_update: check_storage::volume_update,
            printer: Some(&print::cluster::VOLUMES),
            ..of::<core::v1::PersistentVolume>()
        },
        Kind {
            short_names: &["po"],
            categories: &["all"],
            subresources: pod_subs,
            has_status: true,
            generation: true,
            returns_deleted: true,
            defaults: pods::pod,
            prepare: pods::prepare,
            prepare_update: pods::prepare_update,
            prepare_status_update: pods::prepare_status_update,
            resets: &[("status", "metadata.ownerReferences")],
            validate: check_pods::pod,
            validate_create: check_pods::pod_create,
            validate_update: check_pods::pod_update,
            validate_status_update: check_pods::annotations_update,
            fields: &[
                ("spec.nodeName", "spec.nodeName"),
                ("spec.restartPolicy", "spec.restartPolicy"),
                ("spec.schedulerName", "spec.schedulerName"),
                ("spec.serviceAccountName", "spec.serviceAccountName"),
                ("spec.hostNetwork", "spec.hostNetwork"),
                ("status.phase", "status.phase"),
                ("status.podIP", "status.podIP"),
                ("status.nominatedNodeName", "status.nominatedNodeName"),
            ],
            printer: Some(&print::pods::PODS),
            ..of::<core::v1::Pod>()
        },
        Kind {
            short_names: &["rc"],
            categories: &["all"],
            subresources: vec![SCALE, status("ReplicationController")],
            has_status: true,
            generation: true,
            orphans: true,
            defaults: workloads::replication_controller,
            prepare: workload::prepare_replicas,
            validate: check_workloads::replication_controller,
            validate_status_update: workload::validate_replica_status,
            fields: &[("status.replicas", "status.replicas")],
            printer: Some(&print::workloads::REPLICATION_CONTROLLERS),
            scale: Some(SCALE_PATHS),
            ..of::<core::v1::ReplicationController>()
        },
        Kind {
            short_names: &["quota"],
            subresources: vec![status("ResourceQuota")],
            has_status: true,
            prepare: prepare_status,
            returns_deleted: true,
            validate: check_policy::resource_quota,
            validate_update: check_policy::resource_quota_update,
            printer: Some(&print::cluster::RESOURCE_QUOTAS),
            ..of::<core::v1::ResourceQuota>()
        },
        Kind {
            defaults: cluster::secret,
            validate: check::secret,
            validate_update: check::secret_update,
            fields: &[("type", "type")],
            printer: Some(&print::core::SECRETS),
            ..of::<core::v1::Secret>()
        },
        Kind {
            short_names: &["sa"],
            subresources: account_subs,
            returns_deleted: true,
            printer: Some(&print::core::SERVICE_ACCOUNTS),
            ..of::<core::v1::ServiceAccount>()
        },
        Kind {
            short_names: &["svc"],
            categories: &["all"],
            subresources: vec![status("Service")],
            has_status: true,
            returns_deleted: true,
            create_on_update: true,
            name_rule: dns_1035,
            defaults: services::service,
            prepare: services::prepare,
            prepare_update: services::prepare_update,
            prepare_status_update: services::prepare_status_update,
            validate: check_services::service,
            validate_update: check_services::service_update,
            validate_status_update: statuses::service,
            fields: &[("spec.clusterIP", "spec.clusterIP"), ("spec.type", "spec.type")],
            printer: Some(&print::core::SERVICES),
            ..of::<core::v1::Service>()
        },
    ]
}

fn deployment() -> Kind {
    Kind {
        short_names: &["deploy"],
        categories: &["all"],
        subresources: vec![SCALE, status("Deployment")],
        has_status: true,
        generation: true,
        generation_of_annotations: true,
        defaults: workloads::deployment,
        prepare: prepare_status,
        resets: &[("status", "metadata.labels")],
        validate: check_workloads::deployment,
        validate_status_update: statuses::deployment,
        immutable: &["spec.selector"],
        printer: Some(&print::workloads::DEPLOYMENTS),
        scale: Some(SCALE_PATHS),
        ..of::<apps::v1::Deployment>()
    }
}

fn apps_v1() -> Vec<Kind> {
    vec![
        Kind {
            validate: check_workloads::controller_revision,
            immutable: &["data"],
            printer: Some(&print::workloads::CONTROLLER_REVISIONS),
            ..of::<apps::v1::ControllerRevision>()
        },
        Kind {
            short_names: &["ds"],
            categories: &["all"],
            subresources: vec![status("DaemonSet")],
            has_status: true,
            generation: true,
            defaults: workloads::daemon_set,
            prepare: workloads::prepare_daemon_set,
            validate: check_workloads::daemon_set,
            validate_status_update: statuses::daemon_set,
            immutable: &["spec.selector"],
            printer: Some(&print::workloads::DAEMON_SETS),
            ..of::<apps::v1::DaemonSet>()
        },
        deployment(),
        Kind {
            short_names: &["rs"],
            categories: &["all"],
            subresources: vec![SCALE, status("ReplicaSet")],
            has_status: true,
            generation: true,
            defaults: workloads::replica_set,
            prepare: workload::prepare_replicas,
            validate: check_workloads::replica_set,
            validate_status_update: workload::validate_replica_status,
            immutable: &["spec.selector"],
            fields: &[("status.replicas", "status.replicas")],
            printer: Some(&print::workloads::REPLICA_SETS),
            scale: Some(SCALE_PATHS),
            ..of::<apps::v1::ReplicaSet>()
        },
        Kind {
            short_names: &["sts"],
            categories: &["all"],
            subresources: vec![SCALE, status("StatefulSet")],
            has_status: true,
            generation: true,
            name_rule: dns_label,
            defaults: workloads::stateful_set,
            prepare: workloads::prepare_stateful_set,
            validate: check_workloads::stateful_set,
            validate_update: check_workloads::stateful_set_update,
            validate_status_update: statuses::stateful_set,
            printer: Some(&print::workloads::STATEFUL_SETS),
            scale: Some(SCALE_PATHS),
            ..of::<apps::v1::StatefulSet>()
        },
    ]
}

/// An entry for a type that k8s-openapi knows as a subresource only.
fn of_sub<T: k8s_openapi::Resource>() -> Kind {
    Kind {
        group: T::GROUP,
        version: T::VERSION,
        kind: T::KIND,
        schema_name: published::name(T::GROUP, T::VERSION, T::KIND),
        verbs: ALL,
        ..of::<core::v1::Pod>()
    }
}
