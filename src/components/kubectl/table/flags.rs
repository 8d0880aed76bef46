//! Every flag, once. Verbs name the ones they take.

use crate::flag::{Flag, Kind::*, flag};

pub(crate) const ACCEPT_HOSTS: Flag = flag(
    "accept-hosts",
    "",
    Text,
    "^localhost$,^127\\.0\\.0\\.1$,^\\[::1\\]$",
    "",
    "Regular expression for hosts that the proxy should accept",
);
pub(crate) const ACCEPT_PATHS: Flag =
    flag("accept-paths", "", Text, "^.*", "", "Regular expression for paths that the proxy should accept");
/// `--address` of `port-forward`: addresses, separated by commas.
pub const ADDRESS: Flag = flag("address", "", List, "", "", "Addresses to listen on (comma separated)");
pub(crate) const ADDRESS_2: Flag =
    flag("address", "", Text, "127.0.0.1", "", "The IP address on which to serve on");
pub(crate) const AGGREGATION_RULE: Flag =
    flag("aggregation-rule", "", Text, "", "", "An aggregation label selector for combining ClusterRoles");
/// `--all` of `set env` and others: a switch, off by default.
pub const ALL: Flag = flag(
    "all",
    "",
    Bool,
    "false",
    "true",
    "If true, select all resources in the namespace of the specified resource types",
);
pub(crate) const ALL_CONTAINERS: Flag =
    flag("all-containers", "", Bool, "false", "true", "Get all containers' logs in the pod(s)");
pub(crate) const ALL_NAMESPACES: Flag = flag(
    "all-namespaces",
    "A",
    Bool,
    "false",
    "true",
    "If present, list the requested object(s) across all namespaces",
);
pub(crate) const ALL_PODS: Flag = flag("all-pods", "", Bool, "false", "true", "Get logs from all pod(s)");
pub(crate) const ALLOW_MISSING_TEMPLATE_KEYS: Flag = flag(
    "allow-missing-template-keys",
    "",
    Bool,
    "true",
    "true",
    "If true, ignore any errors in templates when a field or map key is missing in the template",
);
/// `--annotation` of `create ingress`: `KEY=VALUE`, may be repeated.
pub const ANNOTATION: Flag = flag(
    "annotation",
    "",
    Array,
    "",
    "",
    "Annotation to insert in the ingress object, in the format annotation=value",
);
pub(crate) const ANNOTATIONS: Flag =
    flag("annotations", "", Array, "", "", "Annotations to apply to the pod");
pub(crate) const API_GROUP: Flag =
    flag("api-group", "", Text, "", "", "Limit to resources in the specified API group");
pub(crate) const API_PREFIX: Flag =
    flag("api-prefix", "", Text, "/", "", "Prefix to serve the proxied API under");
/// `--api-version` of `explain`: `GROUP/VERSION`.
pub const API_VERSION: Flag = flag(
    "api-version",
    "",
    Text,
    "",
    "",
    "Get different explanations for particular API version (API group/version)",
);
pub(crate) const APPEND_HASH: Flag =
    flag("append-hash", "", Bool, "false", "true", "Append a hash of the configmap to its name");
pub(crate) const APPEND_SERVER_PATH: Flag = flag(
    "append-server-path",
    "",
    Bool,
    "false",
    "true",
    "If true, enables automatic path appending of the kube context server path to each request",
);
pub(crate) const ARGUMENTS_ONLY: Flag = flag(
    "arguments-only",
    "",
    Bool,
    "false",
    "true",
    "If specified, everything after -- will be passed to the new container as Args instead of Command",
);
pub(crate) const AS: Flag = flag("as", "", Text, "", "", "Username to impersonate for the operation");
pub(crate) const AS_CURRENT_USER: Flag = flag(
    "as-current-user",
    "",
    Bool,
    "false",
    "true",
    "use the uid and gid of the command executor to run the function in the container",
);
pub(crate) const AS_GROUP: Flag = flag(
    "as-group",
    "",
    Array,
    "",
    "",
    "Group to impersonate for the operation, this flag can be repeated to specify multiple groups",
);
pub(crate) const AS_UID: Flag = flag("as-uid", "", Text, "", "", "UID to impersonate for the operation");
pub(crate) const ATTACH: Flag = flag(
    "attach",
    "",
    Bool,
    "false",
    "true",
    "If true, wait for the Pod to start running, and then attach to the Pod as if 'kubectl attach ...' were called",
);
pub(crate) const AUDIENCE: Flag = flag("audience", "", Array, "", "", "Audience of the requested token");
pub(crate) const AUTH_PROVIDER: Flag =
    flag("auth-provider", "", Text, "", "", "Auth provider for the user entry in kubeconfig");
pub(crate) const AUTH_PROVIDER_ARG: Flag =
    flag("auth-provider-arg", "", List, "", "", "'key=value' arguments for the auth provider");
pub(crate) const BOUND_OBJECT_KIND: Flag =
    flag("bound-object-kind", "", Text, "", "", "Kind of an object to bind the token to");
pub(crate) const BOUND_OBJECT_NAME: Flag =
    flag("bound-object-name", "", Text, "", "", "Name of an object to bind the token to");
pub(crate) const BOUND_OBJECT_UID: Flag =
    flag("bound-object-uid", "", Text, "", "", "UID of an object to bind the token to");
pub(crate) const CACHE_DIR: Flag = flag("cache-dir", "", Text, "", "", "Default cache directory");
pub(crate) const CACHED: Flag =
    flag("cached", "", Bool, "false", "true", "Use the cached list of resources if available");
pub(crate) const CASCADE: Flag = flag(
    "cascade",
    "",
    Text,
    "background",
    "background",
    "Must be \"background\", \"orphan\", or \"foreground\"",
);
pub(crate) const CATEGORIES: Flag =
    flag("categories", "", List, "", "", "Limit to resources that belong to the specified categories");
pub(crate) const CERT: Flag = flag("cert", "", Text, "", "", "Path to PEM encoded public key certificate");
pub(crate) const CERTIFICATE_AUTHORITY: Flag = flag(
    "certificate-authority",
    "",
    Text,
    "",
    "",
    "Path to certificate-authority file for the cluster entry in kubeconfig",
);
pub(crate) const CHUNK_SIZE: Flag =
    flag("chunk-size", "", Int, "500", "", "Return large lists in chunks rather than all at once");
/// `--class` of `create ingress`: the name of an IngressClass.
pub const CLASS: Flag = flag("class", "", Text, "", "", "Ingress Class to be used");
/// `--client` of `version`: a switch, off by default.
pub const CLIENT: Flag =
    flag("client", "", Bool, "false", "true", "If true, shows client version only (no server required)");
pub(crate) const CLIENT_CERTIFICATE: Flag = flag(
    "client-certificate",
    "",
    Text,
    "",
    "",
    "Path to client-certificate file for the user entry in kubeconfig",
);
pub(crate) const CLIENT_KEY: Flag =
    flag("client-key", "", Text, "", "", "Path to client-key file for the user entry in kubeconfig");
/// `--cluster` of every verb: the name of a kubeconfig's cluster.
pub const CLUSTER: Flag = flag("cluster", "", Text, "", "", "cluster for the context entry in kubeconfig");
pub(crate) const CLUSTER_IP: Flag =
    flag("cluster-ip", "", Text, "", "", "ClusterIP to be assigned to the service");
pub(crate) const CLUSTERIP: Flag = flag(
    "clusterip",
    "",
    Text,
    "",
    "",
    "Assign your own ClusterIP or set to 'None' for a 'headless' service (no loadbalancing)",
);
pub(crate) const CLUSTERROLE: Flag =
    flag("clusterrole", "", Text, "", "", "ClusterRole this ClusterRoleBinding should reference");
/// `--command` of `run`: a switch, off by default.
pub const COMMAND: Flag = flag(
    "command",
    "",
    Bool,
    "false",
    "true",
    "If true and extra arguments are present, use them as the 'command' field in the container, rather than the 'args' field which is the default",
);
pub(crate) const CONCURRENCY: Flag = flag(
    "concurrency",
    "",
    Int,
    "1",
    "",
    "Number of objects to process in parallel when diffing against the live version",
);
pub(crate) const CONTAINER: Flag = flag("container", "c", Text, "", "", "Print the logs of this container");
/// `--containers` of `set env` and `set resources`: a name with wildcards, default `*`.
pub const CONTAINERS: Flag = flag(
    "containers",
    "c",
    Text,
    "*",
    "",
    "The names of containers in the selected pod templates to change - may use wildcards",
);
pub(crate) const CONTAINERS_2: Flag =
    flag("containers", "", Bool, "false", "true", "If present, print usage of containers within a pod");
/// `--context` of every verb: the name of a kubeconfig's context.
pub const CONTEXT: Flag = flag("context", "", Text, "", "", "The name of the kubeconfig context to use");
pub(crate) const COPY_TO: Flag =
    flag("copy-to", "", Text, "", "", "Create a copy of the target Pod with this name");
/// `--cpu` of `autoscale`: a percentage (`70%`) or an amount (`500m`).
pub const CPU: Flag = flag(
    "cpu",
    "",
    Text,
    "",
    "",
    "Target CPU utilization over all the pods: a percentage of requested CPU (70%), or an amount for each pod (500m)",
);
pub(crate) const CPU_PERCENT: Flag = flag(
    "cpu-percent",
    "",
    Int32,
    "-1",
    "",
    "The target average CPU utilization (represented as a percent of requested CPU) over all the pods",
);
pub(crate) const CREATE_ANNOTATION: Flag = flag(
    "create-annotation",
    "",
    Bool,
    "false",
    "true",
    "Will create 'last-applied-configuration' annotations if current objects doesn't have one",
);
/// `--current` of `config set-context`: a switch, off by default.
pub const CURRENT: Flag = flag("current", "", Bool, "false", "true", "Modify the current context");
pub(crate) const CURRENT_REPLICAS: Flag =
    flag("current-replicas", "", Int, "-1", "", "Precondition for current size");
pub(crate) const CUSTOM: Flag = flag(
    "custom",
    "",
    Text,
    "",
    "",
    "Path to a JSON or YAML file containing a partial container spec to customize built-in debug profiles",
);
pub(crate) const DEFAULT_BACKEND: Flag =
    flag("default-backend", "", Text, "", "", "Default service for backend, in format of svcname:port");
pub(crate) const DELETE_EMPTYDIR_DATA: Flag = flag(
    "delete-emptydir-data",
    "",
    Bool,
    "false",
    "true",
    "Continue even if there are pods using emptyDir (local data that will be deleted when the node is drained)",
);
pub(crate) const DESCRIPTION: Flag = flag(
    "description",
    "",
    Text,
    "",
    "",
    "description is an arbitrary string that usually provides guidelines on when this priority class should be used",
);
pub(crate) const DISABLE_COMPRESSION: Flag = flag(
    "disable-compression",
    "",
    Bool,
    "false",
    "true",
    "If true, opt-out of response compression for all requests to the server",
);
pub(crate) const DISABLE_EVICTION: Flag = flag(
    "disable-eviction",
    "",
    Bool,
    "false",
    "true",
    "Force drain to use delete, even if eviction is supported",
);
pub(crate) const DISABLE_FILTER: Flag =
    flag("disable-filter", "", Bool, "false", "true", "If true, disable request filtering in the proxy");
pub(crate) const DOCKER_EMAIL: Flag = flag("docker-email", "", Text, "", "", "Email for Docker registry");
pub(crate) const DOCKER_PASSWORD: Flag =
    flag("docker-password", "", Text, "", "", "Password for Docker registry authentication");
pub(crate) const DOCKER_SERVER: Flag =
    flag("docker-server", "", Text, "https://index.docker.io/v1/", "", "Server location for Docker registry");
pub(crate) const DOCKER_USERNAME: Flag =
    flag("docker-username", "", Text, "", "", "Username for Docker registry authentication");
pub(crate) const DRY_RUN: Flag =
    flag("dry-run", "", Text, "none", "unchanged", "Must be \"none\", \"server\", or \"client\"");
/// `--duration` of `create token`: a duration such as `5s`, default `0s`.
pub const DURATION: Flag = flag("duration", "", Duration, "0s", "", "Requested lifetime of the issued token");
/// `--edit` of `create`: a switch, off by default.
pub const EDIT: Flag = flag("edit", "", Bool, "false", "true", "Edit the API resource before creating");
pub(crate) const EMBED_CERTS: Flag =
    flag("embed-certs", "", Bool, "false", "true", "embed-certs for the cluster entry in kubeconfig");
pub(crate) const ENABLE_ALPHA_PLUGINS: Flag =
    flag("enable-alpha-plugins", "", Bool, "false", "true", "enable kustomize plugins");
pub(crate) const ENABLE_HELM: Flag =
    flag("enable-helm", "", Bool, "false", "true", "Enable use of the Helm chart inflator generator");
/// `--env` of `run` and `debug`: `NAME=VALUE`, may be repeated.
pub const ENV: Flag = flag("env", "", Array, "", "", "Environment variables to set in the container");
pub(crate) const ENV_2: Flag = flag(
    "env",
    "e",
    Array,
    "",
    "",
    "Specify a key-value pair for an environment variable to set into each container",
);
pub(crate) const EXEC_API_VERSION: Flag = flag(
    "exec-api-version",
    "",
    Text,
    "",
    "",
    "API version of the exec credential plugin for the user entry in kubeconfig",
);
pub(crate) const EXEC_ARG: Flag = flag(
    "exec-arg",
    "",
    List,
    "",
    "",
    "New arguments for the exec credential plugin command for the user entry in kubeconfig",
);
pub(crate) const EXEC_COMMAND: Flag = flag(
    "exec-command",
    "",
    Text,
    "",
    "",
    "Command for the exec credential plugin for the user entry in kubeconfig",
);
pub(crate) const EXEC_ENV: Flag =
    flag("exec-env", "", Array, "", "", "'key=value' environment values for the exec credential plugin");
pub(crate) const EXEC_INTERACTIVE_MODE: Flag = flag(
    "exec-interactive-mode",
    "",
    Text,
    "",
    "",
    "InteractiveMode of the exec credentials plugin for the user entry in kubeconfig",
);
pub(crate) const EXEC_PROVIDE_CLUSTER_INFO: Flag = flag(
    "exec-provide-cluster-info",
    "",
    Bool,
    "false",
    "true",
    "ProvideClusterInfo of the exec credentials plugin for the user entry in kubeconfig",
);
pub(crate) const EXPOSE: Flag =
    flag("expose", "", Bool, "false", "true", "If true, create a ClusterIP service associated with the pod");
pub(crate) const EXTERNAL_IP: Flag = flag(
    "external-ip",
    "",
    Text,
    "",
    "",
    "Additional external IP address (not managed by Kubernetes) to accept for the service",
);
pub(crate) const EXTERNAL_NAME: Flag = flag("external-name", "", Text, "", "", "External name of service");
pub(crate) const FIELD_MANAGER: Flag = flag(
    "field-manager",
    "",
    Text,
    "kubectl-create",
    "",
    "Name of the manager used to track field ownership",
);
pub(crate) const FIELD_MANAGER_2: Flag = flag(
    "field-manager",
    "",
    Text,
    "kubectl-expose",
    "",
    "Name of the manager used to track field ownership",
);
pub(crate) const FIELD_MANAGER_3: Flag =
    flag("field-manager", "", Text, "kubectl-run", "", "Name of the manager used to track field ownership");
pub(crate) const FIELD_MANAGER_4: Flag =
    flag("field-manager", "", Text, "kubectl-set", "", "Name of the manager used to track field ownership");
pub(crate) const FIELD_MANAGER_5: Flag =
    flag("field-manager", "", Text, "kubectl-edit", "", "Name of the manager used to track field ownership");
pub(crate) const FIELD_MANAGER_6: Flag = flag(
    "field-manager",
    "",
    Text,
    "kubectl-rollout",
    "",
    "Name of the manager used to track field ownership",
);
pub(crate) const FIELD_MANAGER_7: Flag = flag(
    "field-manager",
    "",
    Text,
    "kubectl-autoscale",
    "",
    "Name of the manager used to track field ownership",
);
pub(crate) const FIELD_MANAGER_8: Flag =
    flag("field-manager", "", Text, "kubectl-taint", "", "Name of the manager used to track field ownership");
pub(crate) const FIELD_MANAGER_9: Flag = flag(
    "field-manager",
    "",
    Text,
    "kubectl-client-side-apply",
    "",
    "Name of the manager used to track field ownership",
);
pub(crate) const FIELD_MANAGER_10: Flag =
    flag("field-manager", "", Text, "kubectl-patch", "", "Name of the manager used to track field ownership");
pub(crate) const FIELD_MANAGER_11: Flag = flag(
    "field-manager",
    "",
    Text,
    "kubectl-replace",
    "",
    "Name of the manager used to track field ownership",
);
pub(crate) const FIELD_MANAGER_12: Flag =
    flag("field-manager", "", Text, "kubectl-label", "", "Name of the manager used to track field ownership");
pub(crate) const FIELD_MANAGER_13: Flag = flag(
    "field-manager",
    "",
    Text,
    "kubectl-annotate",
    "",
    "Name of the manager used to track field ownership",
);
pub(crate) const FIELD_SELECTOR: Flag = flag(
    "field-selector",
    "",
    Text,
    "",
    "",
    "Selector (field query) to filter on, supports '=', '==', and '!='.(e.g",
);
pub(crate) const FILENAME: Flag =
    flag("filename", "f", List, "", "", "Filename, directory, or URL to files to use to create the resource");
pub(crate) const FLATTEN: Flag = flag(
    "flatten",
    "",
    Bool,
    "false",
    "true",
    "Flatten the resulting kubeconfig file into self-contained output (useful for creating portable kubeconfig files)",
);
pub(crate) const FOLLOW: Flag =
    flag("follow", "f", Bool, "false", "true", "Specify if the logs should be streamed");
pub(crate) const FOR: Flag =
    flag("for", "", Text, "", "", "Filter events to only those pertaining to the specified resource");
pub(crate) const FORCE: Flag = flag(
    "force",
    "",
    Bool,
    "false",
    "true",
    "If true, immediately remove resources from API and bypass graceful deletion",
);
pub(crate) const FORCE_CONFLICTS: Flag = flag(
    "force-conflicts",
    "",
    Bool,
    "false",
    "true",
    "If true, server-side apply will force the changes against conflicts",
);
/// `--from` of `create job`: `cronjob/NAME`.
pub const FROM: Flag = flag(
    "from",
    "",
    Text,
    "",
    "",
    "The name of the resource to create a Job from (only cronjob is supported)",
);
pub(crate) const FROM_2: Flag =
    flag("from", "", Text, "", "", "The name of a resource from which to inject environment variables");
pub(crate) const FROM_ENV_FILE: Flag = flag(
    "from-env-file",
    "",
    List,
    "",
    "",
    "Specify the path to a file to read lines of key=val pairs to create a configmap",
);
pub(crate) const FROM_FILE: Flag = flag(
    "from-file",
    "",
    List,
    "",
    "",
    "Key file can be specified using its file path, in which case file basename will be used as configmap key, or optionally with a key and file path, in which case the given key will be used",
);
pub(crate) const FROM_LITERAL: Flag =
    flag("from-literal", "", Array, "", "", "Specify a key and literal value to insert in configmap (i.e");
pub(crate) const GLOBAL_DEFAULT: Flag = flag(
    "global-default",
    "",
    Bool,
    "false",
    "true",
    "global-default specifies whether this PriorityClass should be considered as the default priority",
);
pub(crate) const GRACE_PERIOD: Flag = flag(
    "grace-period",
    "",
    Int,
    "-1",
    "",
    "Period of time in seconds given to the resource to terminate gracefully",
);
/// `--group` of `create clusterrolebinding` and others: the name of a group, may be repeated.
pub const GROUP: Flag = flag("group", "", Array, "", "", "Groups to bind to the clusterrole");
/// `--hard` of `create quota`: pairs `RESOURCE=AMOUNT`, separated by commas.
pub const HARD: Flag = flag(
    "hard",
    "",
    Text,
    "",
    "",
    "A comma-delimited set of resource=quantity pairs that define a hard limit",
);
pub(crate) const HELM_API_VERSIONS: Flag = flag(
    "helm-api-versions",
    "",
    List,
    "",
    "",
    "Kubernetes api versions used by Helm for Capabilities.APIVersions",
);
pub(crate) const HELM_COMMAND: Flag =
    flag("helm-command", "", Text, "helm", "", "helm command (path to executable)");
pub(crate) const HELM_DEBUG: Flag = flag(
    "helm-debug",
    "",
    Bool,
    "false",
    "true",
    "Enable debug output from the Helm chart inflator generator",
);
pub(crate) const HELM_KUBE_VERSION: Flag = flag(
    "helm-kube-version",
    "",
    Text,
    "",
    "",
    "Kubernetes version used by Helm for Capabilities.KubeVersion",
);
pub(crate) const IGNORE_DAEMONSETS: Flag =
    flag("ignore-daemonsets", "", Bool, "false", "true", "Ignore DaemonSet-managed pods");
pub(crate) const IGNORE_ERRORS: Flag = flag(
    "ignore-errors",
    "",
    Bool,
    "false",
    "true",
    "If watching / following pod logs, allow for any errors that occur to be non-fatal",
);
pub(crate) const IGNORE_NOT_FOUND: Flag = flag(
    "ignore-not-found",
    "",
    Bool,
    "false",
    "true",
    "If the requested object does not exist the command will return exit code 0",
);
/// `--image` of `create cronjob` and others: the reference of an image.
pub const IMAGE: Flag = flag("image", "", Text, "", "", "Image name to run");
pub(crate) const IMAGE_2: Flag = flag("image", "", List, "", "", "Image names to run");
pub(crate) const IMAGE_PULL_POLICY: Flag =
    flag("image-pull-policy", "", Text, "", "", "The image pull policy for the container");
pub(crate) const INSECURE_SKIP_TLS_VERIFY: Flag = flag(
    "insecure-skip-tls-verify",
    "",
    Bool,
    "false",
    "true",
    "insecure-skip-tls-verify for the cluster entry in kubeconfig",
);
pub(crate) const INSECURE_SKIP_TLS_VERIFY_BACKEND: Flag = flag(
    "insecure-skip-tls-verify-backend",
    "",
    Bool,
    "false",
    "true",
    "Skip verifying the identity of the kubelet that logs are requested from",
);
pub(crate) const INTERACTIVE: Flag =
    flag("interactive", "i", Bool, "false", "true", "If true, delete resource only when user confirms");
pub(crate) const KEEP_ANNOTATIONS: Flag = flag(
    "keep-annotations",
    "",
    Bool,
    "false",
    "true",
    "If true, keep the original pod annotations.(This flag only works when used with '--copy-to')",
);
pub(crate) const KEEP_INIT_CONTAINERS: Flag =
    flag("keep-init-containers", "", Bool, "true", "true", "Run the init containers for the pod");
pub(crate) const KEEP_LABELS: Flag = flag(
    "keep-labels",
    "",
    Bool,
    "false",
    "true",
    "If true, keep the original pod labels.(This flag only works when used with '--copy-to')",
);
pub(crate) const KEEP_LIVENESS: Flag = flag(
    "keep-liveness",
    "",
    Bool,
    "false",
    "true",
    "If true, keep the original pod liveness probes.(This flag only works when used with '--copy-to')",
);
pub(crate) const KEEP_READINESS: Flag = flag(
    "keep-readiness",
    "",
    Bool,
    "false",
    "true",
    "If true, keep the original pod readiness probes.(This flag only works when used with '--copy-to')",
);
pub(crate) const KEEP_STARTUP: Flag = flag(
    "keep-startup",
    "",
    Bool,
    "false",
    "true",
    "If true, keep the original startup probes.(This flag only works when used with '--copy-to')",
);
pub(crate) const KEEPALIVE: Flag = flag(
    "keepalive",
    "",
    Duration,
    "0s",
    "",
    "keepalive specifies the keep-alive period for an active network connection",
);
/// `--key` of `create secret tls`: the path of a PEM file.
pub const KEY: Flag = flag("key", "", Text, "", "", "Path to private key associated with given certificate");
/// `--keys` of `set env`: keys, separated by commas.
pub const KEYS: Flag =
    flag("keys", "", List, "", "", "Comma-separated list of keys to import from specified resource");
/// `--kubeconfig` of every verb: the path of a file.
pub const KUBECONFIG: Flag =
    flag("kubeconfig", "", Text, "", "", "Path to the kubeconfig file to use for CLI requests");
pub(crate) const KUSTOMIZE: Flag =
    flag("kustomize", "k", Text, "", "", "Process the kustomization directory");
pub(crate) const LABEL_COLUMNS: Flag = flag(
    "label-columns",
    "L",
    List,
    "",
    "",
    "Accepts a comma separated list of labels that are going to be presented as columns",
);
/// `--labels` of `expose` and `run`: pairs `KEY=VALUE`, separated by commas.
pub const LABELS: Flag =
    flag("labels", "l", Text, "", "", "Labels to apply to the service created by this call");
pub(crate) const LEAVE_STDIN_OPEN: Flag = flag(
    "leave-stdin-open",
    "",
    Bool,
    "false",
    "true",
    "If the pod is started in interactive mode or with stdin, leave stdin open after the first attach completes",
);
pub(crate) const LIMIT_BYTES: Flag = flag("limit-bytes", "", Int, "0", "", "Maximum bytes of logs to return");
/// `--limits` of `set resources`: pairs `RESOURCE=AMOUNT`, separated by commas.
pub const LIMITS: Flag =
    flag("limits", "", Text, "", "", "The resource requirement requests for this container");
/// `--list` of `set env` and others: a switch, off by default.
pub const LIST: Flag = flag(
    "list",
    "",
    Bool,
    "false",
    "true",
    "If true, display the environment and any changes in the standard format",
);
pub(crate) const LOAD_BALANCER_IP: Flag =
    flag("load-balancer-ip", "", Text, "", "", "IP to assign to the LoadBalancer");
pub(crate) const LOAD_RESTRICTOR: Flag = flag(
    "load-restrictor",
    "",
    Text,
    "LoadRestrictionsRootOnly",
    "",
    "if set to 'LoadRestrictionsNone', local kustomizations may load files from outside their root",
);
pub(crate) const LOCAL: Flag =
    flag("local", "", Bool, "false", "true", "If true, set env will NOT contact api-server but run locally");
pub(crate) const LOG_FLUSH_FREQUENCY: Flag =
    flag("log-flush-frequency", "", Duration, "5s", "", "Maximum number of seconds between log flushes");
pub(crate) const MATCH_SERVER_VERSION: Flag =
    flag("match-server-version", "", Bool, "false", "true", "Require server version to match client version");
/// `--max` of `autoscale`: a number of 32 bits, default `-1`.
pub const MAX: Flag = flag(
    "max",
    "",
    Int32,
    "-1",
    "",
    "The upper limit for the number of pods that can be set by the autoscaler",
);
pub(crate) const MAX_LOG_REQUESTS: Flag = flag(
    "max-log-requests",
    "",
    Int,
    "5",
    "",
    "Specify maximum number of concurrent logs to follow when using by a selector",
);
pub(crate) const MAX_UNAVAILABLE: Flag = flag(
    "max-unavailable",
    "",
    Text,
    "",
    "",
    "The maximum number or percentage of unavailable pods this budget requires",
);
/// `--memory` of `autoscale`: a percentage (`60%`) or an amount (`200Mi`).
pub const MEMORY: Flag = flag(
    "memory",
    "",
    Text,
    "",
    "",
    "Target memory utilization over all the pods: a percentage of requested memory (60%), or an amount for each pod (200Mi)",
);
/// `--merge` of `config view`: a switch, on by default.
pub const MERGE: Flag =
    flag("merge", "", Bool, "true", "true", "Merge the full hierarchy of kubeconfig files");
/// `--min` of `autoscale`: a number of 32 bits, default `-1`.
pub const MIN: Flag = flag(
    "min",
    "",
    Int32,
    "-1",
    "",
    "The lower limit for the number of pods that can be set by the autoscaler",
);
pub(crate) const MIN_AVAILABLE: Flag = flag(
    "min-available",
    "",
    Text,
    "",
    "",
    "The minimum number or percentage of available pods this budget requires",
);
pub(crate) const MINIFY: Flag = flag(
    "minify",
    "",
    Bool,
    "false",
    "true",
    "Remove all information not used by current-context from the output",
);
pub(crate) const MOUNT: Flag =
    flag("mount", "", List, "", "", "a list of storage options read from the filesystem");
/// `--name` of `expose` and `autoscale`: the name of the new object.
pub const NAME: Flag = flag("name", "", Text, "", "", "The name for the newly created object");
pub(crate) const NAME_ONLY: Flag = flag(
    "name-only",
    "",
    Bool,
    "false",
    "true",
    "If true, display only the binary name of each plugin, rather than its full path",
);
/// `--namespace` of `config set-context`: the name of a namespace.
pub const NAMESPACE: Flag =
    flag("namespace", "", Text, "", "", "namespace for the context entry in kubeconfig");
pub(crate) const NAMESPACE_2: Flag =
    flag("namespace", "n", Text, "", "", "If present, the namespace scope for this CLI request");
/// `--namespaced` of `api-resources`: a switch, on by default.
pub const NAMESPACED: Flag = flag(
    "namespaced",
    "",
    Bool,
    "true",
    "true",
    "If false, non-namespaced resources will be returned, otherwise returning namespaced resources by default",
);
/// `--namespaces` of `cluster-info dump`: names, separated by commas.
pub const NAMESPACES: Flag =
    flag("namespaces", "", List, "", "", "A comma separated list of namespaces to dump");
pub(crate) const NETWORK: Flag =
    flag("network", "", Bool, "false", "true", "enable network access for functions that declare it");
pub(crate) const NETWORK_NAME: Flag =
    flag("network-name", "", Text, "bridge", "", "the docker network to run the container in");
pub(crate) const NO_HEADERS: Flag = flag(
    "no-headers",
    "",
    Bool,
    "false",
    "true",
    "When using the default or custom-column output format, don't print headers (default print headers)",
);
pub(crate) const NO_PRESERVE: Flag = flag(
    "no-preserve",
    "",
    Bool,
    "false",
    "true",
    "The copied file/directory's ownership and permissions will not be preserved in the container",
);
/// `--node-port` of `create service nodeport`: a number of 64 bits, default `0`.
pub const NODE_PORT: Flag =
    flag("node-port", "", Int, "0", "", "Port used to expose the service on each node in a cluster");
pub(crate) const NON_RESOURCE_URL: Flag =
    flag("non-resource-url", "", List, "", "", "A partial url that user should have access to");
/// `--now` of `delete`: a switch, off by default.
pub const NOW: Flag = flag(
    "now",
    "",
    Bool,
    "false",
    "true",
    "If true, resources are signaled for immediate shutdown (same as --grace-period=1)",
);
pub(crate) const OPENAPI_PATCH: Flag = flag(
    "openapi-patch",
    "",
    Bool,
    "true",
    "true",
    "If true, use openapi to calculate diff when the openapi presents and the resource can be found in the openapi spec",
);
pub(crate) const OUTPUT: Flag = flag(
    "output",
    "o",
    Text,
    "",
    "",
    "Output format. One of: (json, yaml, kyaml, name, go-template, go-template-file, template, templatefile, jsonpath, jsonpath-as-json, jsonpath-file)",
);
pub(crate) const OUTPUT_2: Flag = flag(
    "output",
    "",
    Text,
    "plaintext",
    "",
    "Format in which to render the schema (plaintext, plaintext-openapiv2)",
);
pub(crate) const OUTPUT_3: Flag = flag(
    "output",
    "o",
    Text,
    "json",
    "",
    "Output format. One of: (json, yaml, kyaml, name, go-template, go-template-file, template, templatefile, jsonpath, jsonpath-as-json, jsonpath-file)",
);
pub(crate) const OUTPUT_4: Flag =
    flag("output", "o", Text, "yaml", "", "Output format. Must be one of (yaml, json)");
pub(crate) const OUTPUT_DIRECTORY: Flag =
    flag("output-directory", "", Text, "", "", "Where to output the files");
pub(crate) const OUTPUT_PATCH: Flag =
    flag("output-patch", "", Bool, "false", "true", "Output the patch if the resource is edited");
pub(crate) const OUTPUT_WATCH_EVENTS: Flag = flag(
    "output-watch-events",
    "",
    Bool,
    "false",
    "true",
    "Output watch event objects when --watch or --watch-only is used",
);
pub(crate) const OVERRIDE_TYPE: Flag = flag(
    "override-type",
    "",
    Text,
    "merge",
    "",
    "The method used to override the generated object: json, merge, or strategic",
);
pub(crate) const OVERRIDES: Flag =
    flag("overrides", "", Text, "", "", "An inline JSON override for the generated object");
pub(crate) const OVERWRITE: Flag = flag(
    "overwrite",
    "",
    Bool,
    "true",
    "true",
    "If true, allow environment to be overwritten, otherwise reject updates that overwrite existing environment",
);
pub(crate) const OVERWRITE_2: Flag = flag(
    "overwrite",
    "",
    Bool,
    "false",
    "true",
    "If true, allow taints to be overwritten, otherwise reject taint updates that overwrite existing taints",
);
pub(crate) const PASSWORD: Flag =
    flag("password", "", Text, "", "", "password for the user entry in kubeconfig");
/// `--patch` of `patch`: a patch in JSON or YAML.
pub const PATCH: Flag = flag("patch", "p", Text, "", "", "The patch to be applied to the resource JSON file");
pub(crate) const PATCH_FILE: Flag =
    flag("patch-file", "", Text, "", "", "A file containing a patch to be applied to the resource");
pub(crate) const POD_RUNNING_TIMEOUT: Flag = flag(
    "pod-running-timeout",
    "",
    Duration,
    "1m0s",
    "",
    "The length of time (like 5s, 2m, or 3h, higher than zero) to wait until at least one pod is running",
);
pub(crate) const POD_RUNNING_TIMEOUT_2: Flag = flag(
    "pod-running-timeout",
    "",
    Duration,
    "20s",
    "",
    "The length of time (like 5s, 2m, or 3h, higher than zero) to wait until at least one pod is running",
);
pub(crate) const POD_SELECTOR: Flag =
    flag("pod-selector", "", Text, "", "", "Label selector to filter pods on the node");
/// `--port` of `create deployment`: a number of 32 bits, default `-1`.
pub const PORT: Flag = flag("port", "", Int32, "-1", "", "The containerPort that this deployment exposes");
pub(crate) const PORT_2: Flag = flag("port", "", Text, "", "", "The port that the service should serve on");
pub(crate) const PORT_3: Flag = flag("port", "p", Int, "8001", "", "The port on which to run the proxy");
pub(crate) const PREEMPTION_POLICY: Flag = flag(
    "preemption-policy",
    "",
    Text,
    "PreemptLowerPriority",
    "",
    "preemption-policy is the policy for preempting pods with lower priority",
);
/// `--prefix` of `set env`: a text before each name.
pub const PREFIX: Flag = flag("prefix", "", Text, "", "", "Prefix to append to variable names");
pub(crate) const PREFIX_2: Flag = flag(
    "prefix",
    "",
    Bool,
    "false",
    "true",
    "Prefix each log line with the log source (pod name and container name)",
);
pub(crate) const PREVIOUS: Flag = flag(
    "previous",
    "p",
    Bool,
    "false",
    "true",
    "If true, print the logs for the previous instance of the container in a pod if it exists",
);
pub(crate) const PRIVILEGED: Flag =
    flag("privileged", "", Bool, "false", "true", "If true, run the container in privileged mode");
pub(crate) const PROFILE: Flag = flag(
    "profile",
    "",
    Text,
    "legacy",
    "",
    "Options are \"legacy\", \"general\", \"baseline\", \"netadmin\", \"restricted\" or \"sysadmin\"",
);
pub(crate) const PROFILE_2: Flag = flag("profile", "", Text, "none", "", "Name of profile to capture");
pub(crate) const PROFILE_OUTPUT: Flag =
    flag("profile-output", "", Text, "profile.pprof", "", "Name of the file to write the profile to");
pub(crate) const PROTOCOL: Flag =
    flag("protocol", "", Text, "", "", "The network protocol for the service to be created");
pub(crate) const PROXY_URL: Flag =
    flag("proxy-url", "", Text, "", "", "proxy-url for the cluster entry in kubeconfig");
pub(crate) const PRUNE: Flag =
    flag("prune", "", Bool, "false", "true", "Include resources that would be deleted by pruning");
pub(crate) const PRUNE_ALLOWLIST: Flag = flag(
    "prune-allowlist",
    "",
    Array,
    "",
    "",
    "Overwrite the default allowlist with <group/version/kind> for --prune",
);
/// `--quiet` of `run` and others: a switch, off by default.
pub const QUIET: Flag = flag("quiet", "q", Bool, "false", "true", "If true, suppress prompt messages");
/// `--raw` of `create` and others: a path of the API server.
pub const RAW: Flag = flag("raw", "", Text, "", "", "Raw URI to POST to the server");
pub(crate) const RAW_2: Flag =
    flag("raw", "", Bool, "false", "true", "Display raw byte data and sensitive data");
pub(crate) const RECURSIVE: Flag =
    flag("recursive", "R", Bool, "false", "true", "Process the directory used in -f, --filename recursively");
pub(crate) const RECURSIVE_2: Flag =
    flag("recursive", "R", Bool, "true", "true", "Process the directory used in -f, --filename recursively");
pub(crate) const RECURSIVE_3: Flag =
    flag("recursive", "", Bool, "false", "true", "Print the fields of fields (Currently only 1 level deep)");
pub(crate) const REJECT_METHODS: Flag = flag(
    "reject-methods",
    "",
    Text,
    "^$",
    "",
    "Regular expression for HTTP methods that the proxy should reject (example --reject-methods='POST,PUT,PATCH')",
);
pub(crate) const REJECT_PATHS: Flag = flag(
    "reject-paths",
    "",
    Text,
    "^/api/.*/pods/.*/exec,^/api/.*/pods/.*/attach",
    "",
    "Regular expression for paths that the proxy should reject",
);
pub(crate) const REMOVE_EXTRA_PERMISSIONS: Flag = flag(
    "remove-extra-permissions",
    "",
    Bool,
    "false",
    "true",
    "If true, removes extra permissions added to roles",
);
pub(crate) const REMOVE_EXTRA_SUBJECTS: Flag = flag(
    "remove-extra-subjects",
    "",
    Bool,
    "false",
    "true",
    "If true, removes extra subjects added to rolebindings",
);
pub(crate) const REPLACE: Flag =
    flag("replace", "", Bool, "false", "true", "When used with '--copy-to', delete the original Pod");
/// `--replicas` of `create deployment`: a number of 32 bits, default `1`.
pub const REPLICAS: Flag = flag("replicas", "r", Int32, "1", "", "Number of replicas to create");
pub(crate) const REPLICAS_2: Flag = flag("replicas", "", Int, "0", "", "The new desired number of replicas");
/// `--request-timeout` of every verb: seconds, or a duration such as `1m`; default `0`, no limit.
pub const REQUEST_TIMEOUT: Flag = flag(
    "request-timeout",
    "",
    Text,
    "0",
    "",
    "The length of time to wait before giving up on a single server request",
);
/// `--requests` of `set resources`: pairs `RESOURCE=AMOUNT`, separated by commas.
pub const REQUESTS: Flag =
    flag("requests", "", Text, "", "", "The resource requirement requests for this container");
pub(crate) const RESOLVE: Flag = flag(
    "resolve",
    "",
    Bool,
    "false",
    "true",
    "If true, show secret or configmap references when listing variables",
);
pub(crate) const RESOURCE: Flag = flag("resource", "", List, "", "", "Resource that the rule applies to");
pub(crate) const RESOURCE_NAME: Flag = flag(
    "resource-name",
    "",
    Array,
    "",
    "",
    "Resource in the white list that the rule applies to, repeat this flag for multiple items",
);
pub(crate) const RESOURCE_VERSION: Flag = flag(
    "resource-version",
    "",
    Text,
    "",
    "",
    "If non-empty, the selectors update will only succeed if this is the current resource-version for the object",
);
pub(crate) const RESTART: Flag = flag("restart", "", Text, "", "", "job's restart policy");
pub(crate) const RESTART_2: Flag = flag("restart", "", Text, "Always", "", "The restart policy for this Pod");
pub(crate) const RETRIES: Flag =
    flag("retries", "", Int, "0", "", "Set number of retries to complete a copy operation from a container");
/// `--revision` of `rollout history` and `rollout status`: a number of 64 bits, default `0`.
pub const REVISION: Flag =
    flag("revision", "", Int, "0", "", "See the details, including podTemplate of the revision specified");
pub(crate) const RM: Flag = flag("rm", "", Bool, "false", "true", "If true, delete the pod after it exits");
pub(crate) const ROLE: Flag = flag("role", "", Text, "", "", "Role this RoleBinding should reference");
pub(crate) const RULE: Flag = flag(
    "rule",
    "",
    Array,
    "",
    "",
    "Rule in format host/path=service:port[,tls=secretname]. Paths containing the leading character '*' are considered pathType=Prefix",
);
pub(crate) const SAME_NODE: Flag = flag(
    "same-node",
    "",
    Bool,
    "false",
    "true",
    "When used with '--copy-to', schedule the copy of target Pod on the same node",
);
pub(crate) const SAVE_CONFIG: Flag = flag(
    "save-config",
    "",
    Bool,
    "false",
    "true",
    "If true, the configuration of current object will be saved in its annotation",
);
/// `--schedule` of `create cronjob`: a schedule in cron form.
pub const SCHEDULE: Flag =
    flag("schedule", "", Text, "", "", "A schedule in the Cron format the job should be run with");
/// `--scopes` of `create quota`: names of scopes, separated by commas.
pub const SCOPES: Flag = flag(
    "scopes",
    "",
    Text,
    "",
    "",
    "A comma-delimited set of quota scopes that must all match each object tracked by the quota",
);
/// `--selector` of `create` and others: a label selector.
pub const SELECTOR: Flag = flag(
    "selector",
    "l",
    Text,
    "",
    "",
    "Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.(e.g",
);
pub(crate) const SELECTOR_2: Flag =
    flag("selector", "", Text, "", "", "A label selector to use for this budget");
/// `--server` of `config set-cluster`: a URL.
pub const SERVER: Flag = flag("server", "", Text, "", "", "server for the cluster entry in kubeconfig");
pub(crate) const SERVER_2: Flag =
    flag("server", "s", Text, "", "", "The address and port of the Kubernetes API server");
pub(crate) const SERVER_PRINT: Flag = flag(
    "server-print",
    "",
    Bool,
    "true",
    "true",
    "If true, have the server return the appropriate table output",
);
pub(crate) const SERVER_SIDE: Flag =
    flag("server-side", "", Bool, "false", "true", "If true, apply runs in the server instead of the client");
pub(crate) const SERVICEACCOUNT: Flag = flag(
    "serviceaccount",
    "",
    Array,
    "",
    "",
    "Service accounts to bind to the clusterrole, in the format <namespace>:<name>. The flag can be repeated to add multiple service accounts",
);
pub(crate) const SESSION_AFFINITY: Flag = flag(
    "session-affinity",
    "",
    Text,
    "",
    "",
    "If non-empty, set the session affinity for the service to this; legal values: 'None', 'ClientIP'",
);
pub(crate) const SET_IMAGE: Flag = flag(
    "set-image",
    "",
    List,
    "",
    "",
    "When used with '--copy-to', a list of name=image pairs for changing container images, similar to how 'kubectl set image' works",
);
pub(crate) const SET_RAW_BYTES: Flag = flag(
    "set-raw-bytes",
    "",
    Bool,
    "false",
    "true",
    "When writing a []byte PROPERTY_VALUE, write the given string directly without base64 decoding",
);
pub(crate) const SHARE_PROCESSES: Flag = flag(
    "share-processes",
    "",
    Bool,
    "true",
    "true",
    "When used with '--copy-to', enable process namespace sharing in the copy",
);
pub(crate) const SHOW_CAPACITY: Flag = flag(
    "show-capacity",
    "",
    Bool,
    "false",
    "true",
    "Print node resources based on Capacity instead of Allocatable(default) of the nodes",
);
pub(crate) const SHOW_EVENTS: Flag =
    flag("show-events", "", Bool, "true", "true", "If true, display events related to the described object");
pub(crate) const SHOW_KIND: Flag = flag(
    "show-kind",
    "",
    Bool,
    "false",
    "true",
    "If present, list the resource type for the requested object(s)",
);
pub(crate) const SHOW_LABELS: Flag = flag(
    "show-labels",
    "",
    Bool,
    "false",
    "true",
    "When printing, show all labels as the last column (default hide labels column)",
);
pub(crate) const SHOW_MANAGED_FIELDS: Flag = flag(
    "show-managed-fields",
    "",
    Bool,
    "false",
    "true",
    "If true, keep the managedFields when printing objects in JSON or YAML format",
);
pub(crate) const SINCE: Flag = flag(
    "since",
    "",
    Duration,
    "0s",
    "",
    "Only return logs newer than a relative duration like 5s, 2m, or 3h",
);
pub(crate) const SINCE_TIME: Flag =
    flag("since-time", "", Text, "", "", "Only return logs after a specific date (RFC3339)");
pub(crate) const SKIP_WAIT_FOR_DELETE_TIMEOUT: Flag = flag(
    "skip-wait-for-delete-timeout",
    "",
    Int,
    "0",
    "",
    "If pod DeletionTimestamp older than N seconds, skip waiting for the pod",
);
pub(crate) const SORT_BY: Flag =
    flag("sort-by", "", Text, "", "", "If non-empty, sort list types using this field specification");
pub(crate) const STDIN: Flag = flag(
    "stdin",
    "i",
    Bool,
    "false",
    "true",
    "Keep stdin open on the container in the pod, even if nothing is attached",
);
pub(crate) const SUBRESOURCE: Flag =
    flag("subresource", "", Text, "", "", "If specified, gets the subresource of the requested object");
pub(crate) const SUM: Flag = flag("sum", "", Bool, "false", "true", "Print the sum of the resource usage");
/// `--tail` of `logs`: a number of 64 bits, default `-1`.
pub const TAIL: Flag = flag("tail", "", Int, "-1", "", "Lines of recent log file to display");
/// `--target` of `debug`: the name of a container.
pub const TARGET: Flag = flag(
    "target",
    "",
    Text,
    "",
    "",
    "When using an ephemeral container, target processes in this container name",
);
pub(crate) const TARGET_PORT: Flag = flag(
    "target-port",
    "",
    Text,
    "",
    "",
    "Name or number for the port on the container that the service should direct traffic to",
);
/// `--tcp` of `create service clusterip` and others: pairs `PORT:TARGET_PORT`, separated by commas.
pub const TCP: Flag = flag("tcp", "", List, "", "", "Port pairs can be specified as '<port>:<targetPort>'");
/// `--template` of `create` and others: a template, or the path of a file with one.
pub const TEMPLATE: Flag = flag(
    "template",
    "",
    Text,
    "",
    "",
    "Template string or path to template file to use when -o=go-template, -o=go-template-file",
);
/// `--timeout` of `run` and others: a duration such as `5s`, default `0s`.
pub const TIMEOUT: Flag = flag(
    "timeout",
    "",
    Duration,
    "0s",
    "",
    "The length of time to wait before giving up on a delete, zero means determine a timeout from the size of the object",
);
pub(crate) const TIMEOUT_2: Flag =
    flag("timeout", "", Duration, "30s", "", "The length of time to wait before giving up");
pub(crate) const TIMESTAMPS: Flag =
    flag("timestamps", "", Bool, "false", "true", "Include timestamps on each line in the log output");
pub(crate) const TLS_SERVER_NAME: Flag =
    flag("tls-server-name", "", Text, "", "", "tls-server-name for the cluster entry in kubeconfig");
pub(crate) const TO_REVISION: Flag = flag("to-revision", "", Int, "0", "", "The revision to rollback to");
/// `--token` of every verb: a bearer token.
pub const TOKEN: Flag = flag("token", "", Text, "", "", "token for the user entry in kubeconfig");
/// `--tty` of `run` and others: a switch, off by default.
pub const TTY: Flag = flag("tty", "t", Bool, "false", "true", "Allocate a TTY for the container in the pod");
/// `--type` of `create secret generic` and `expose`: the type of the new object.
pub const TYPE: Flag = flag("type", "", Text, "", "", "The type of secret to create");
pub(crate) const TYPE_2: Flag = flag(
    "type",
    "",
    Text,
    "strategic",
    "",
    "The type of patch being provided; one of [json merge strategic]",
);
/// `--types` of `events`: types of events, separated by commas.
pub const TYPES: Flag = flag("types", "", List, "", "", "Output only events of given types");
pub(crate) const UNIX_SOCKET: Flag =
    flag("unix-socket", "u", Text, "", "", "Unix socket on which to run the proxy");
pub(crate) const USE_PROTOCOL_BUFFERS: Flag = flag(
    "use-protocol-buffers",
    "",
    Bool,
    "true",
    "true",
    "Enables using protocol-buffers to access Metrics API",
);
/// `--user` of `create clusterrolebinding` and others: the name of a user, may be repeated.
pub const USER: Flag = flag("user", "", Array, "", "", "Usernames to bind to the clusterrole");
pub(crate) const USER_2: Flag = flag("user", "", Text, "", "", "user for the context entry in kubeconfig");
pub(crate) const USERNAME: Flag =
    flag("username", "", Text, "", "", "username for the user entry in kubeconfig");
/// `--v` of every verb: a number of 64 bits, default `0`.
pub const V: Flag = flag("v", "v", Int, "0", "", "number for the log level verbosity");
pub(crate) const VALIDATE: Flag = flag(
    "validate",
    "",
    Text,
    "strict",
    "strict",
    "Must be one of: strict (or true), warn, ignore (or false)",
);
/// `--value` of `create priorityclass`: a number of 32 bits, default `0`.
pub const VALUE: Flag = flag("value", "", Int32, "0", "", "the value of this priority class");
/// `--verb` of `create clusterrole` and `create role`: verbs, separated by commas.
pub const VERB: Flag =
    flag("verb", "", List, "", "", "Verb that applies to the resources contained in the rule");
/// `--verbs` of `api-resources`: verbs, separated by commas.
pub const VERBS: Flag =
    flag("verbs", "", List, "", "", "Limit to resources that support the specified verbs");
pub(crate) const VMODULE: Flag = flag(
    "vmodule",
    "",
    Text,
    "",
    "",
    "comma-separated list of pattern=N settings for file-filtered logging (only works for the default text log format)",
);
pub(crate) const WAIT: Flag =
    flag("wait", "", Bool, "false", "true", "If true, wait for resources to be gone before returning");
pub(crate) const WAIT_2: Flag =
    flag("wait", "", Bool, "true", "true", "If true, wait for resources to be gone before returning");
pub(crate) const WARNINGS_AS_ERRORS: Flag = flag(
    "warnings-as-errors",
    "",
    Bool,
    "false",
    "true",
    "Treat warnings received from the server as errors and exit with a non-zero exit code",
);
/// `--watch` of `get` and `events`: a switch, off by default.
pub const WATCH: Flag = flag(
    "watch",
    "w",
    Bool,
    "false",
    "true",
    "After listing/getting the requested object, watch for changes",
);
pub(crate) const WATCH_2: Flag =
    flag("watch", "w", Bool, "true", "true", "Watch the status of the rollout until it's done");
pub(crate) const WATCH_ONLY: Flag = flag(
    "watch-only",
    "",
    Bool,
    "false",
    "true",
    "Watch for changes to the requested object(s), without listing/getting first",
);
pub(crate) const WINDOWS_LINE_ENDINGS: Flag =
    flag("windows-line-endings", "", Bool, "false", "true", "Only relevant if --edit=true");
pub(crate) const WWW: Flag = flag(
    "www",
    "w",
    Text,
    "",
    "",
    "Also serve static files from the given directory under the specified prefix",
);
pub(crate) const WWW_PREFIX: Flag = flag(
    "www-prefix",
    "P",
    Text,
    "/static/",
    "",
    "Prefix to serve static files under, if static file directory is specified",
);
