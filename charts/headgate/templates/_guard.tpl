{{/*
The admission policies by which the API server itself keeps Headgate's footing. Each define is the spec of
one ValidatingAdmissionPolicy. A request's name is empty where a whole collection is deleted: it is the
object's name that counts.
*/}}

{{/* Who configures Headgate. Everybody else is who the policies are about. */}}
{{- define "headgate.guard.notAdmin" -}}
- name: not-an-administrator-of-headgate
  expression: >-
    !{{ include "headgate.cel.isOneOf" .Values.guard.admins | nindent 4 | trim }}
{{- end }}

{{/* Headgate's own webhook configuration. */}}
{{- define "headgate.guard.webhooks" -}}
{{- $name := include "headgate.fullname" . -}}
matchConstraints:
  resourceRules:
    - apiGroups: [admissionregistration.k8s.io]
      apiVersions: ["*"]
      resources: [validatingwebhookconfigurations]
      operations: [UPDATE, DELETE]
matchConditions:
  - name: is-headgates-own
    expression: oldObject.metadata.name == {{ $name | toJson }}
  {{- include "headgate.guard.notAdmin" . | nindent 2 }}
  - name: not-the-sync-loop
    expression: "!{{ include "headgate.cel.isSync" . | replace "\"" "'" }}"
  - name: not-headgates-own-uninstallation
    expression: "!(request.operation == 'DELETE' && {{ include "headgate.cel.isUninstaller" . | replace "\"" "'" }})"
  - name: not-the-end-of-a-deletion
    expression: >-
      !(request.operation == 'UPDATE' && has(oldObject.metadata.deletionTimestamp) &&
      {{ include "headgate.cel.isGarbageCollector" . }} &&
      {{ include "headgate.cel.same" (dict "old" "oldObject" "new" "object" "fields" (list "webhooks")) }})
  {{- if eq .Values.certificates.mode "cert-manager" }}
  - name: not-the-injection-of-a-ca
    expression: >-
      !(request.operation == 'UPDATE' && request.userInfo.username == {{ .Values.certificates.certManager.injector | toJson }} &&
      has(object.webhooks) && has(oldObject.webhooks) && object.webhooks.size() == oldObject.webhooks.size() &&
      object.webhooks.all(n, oldObject.webhooks.exists(o, o.name == n.name &&
      {{ include "headgate.cel.same" (dict "old" "o" "new" "n" "fields" (list "rules" "failurePolicy" "matchPolicy" "namespaceSelector" "objectSelector" "sideEffects" "timeoutSeconds" "admissionReviewVersions" "matchConditions" "clientConfig.url" "clientConfig.service")) }})))
  {{- end }}
validations:
  - expression: "false"
    reason: Forbidden
    message: >-
      This configuration is what makes the API server ask Headgate. Only Headgate's administrators (guard.admins in
      the chart's values) may change it; `headgate uninstall` or `helm uninstall` takes Headgate away as a whole.
{{- end }}

{{/* The definitions of guarded kinds, and Headgate's own. */}}
{{- define "headgate.guard.definitions" -}}
{{- $names := list "policysources.headgate.dev" "policygrants.headgate.dev" }}
{{- range include "headgate.guarded" . | fromYamlArray }}
{{- $group := .group }}
{{- range .resources }}
{{- $names = append $names (printf "%s.%s" . $group) }}
{{- end }}
{{- end -}}
matchConstraints:
  resourceRules:
    - apiGroups: [apiextensions.k8s.io]
      apiVersions: ["*"]
      # Not its status: controllers keep that.
      resources: [customresourcedefinitions]
      operations: [UPDATE, DELETE]
matchConditions:
  - name: is-of-a-guarded-kind
    expression: >-
      oldObject.metadata.name in {{ $names | toJson }}
  {{- include "headgate.guard.notAdmin" . | nindent 2 }}
  - name: not-an-installer-of-definitions
    expression: >-
      !(request.operation == 'UPDATE' && {{ include "headgate.cel.isOneOf" .Values.guard.definitions | nindent 6 | trim }})
  - name: not-the-api-server-itself
    expression: request.userInfo.username != 'system:apiserver'
validations:
  - expression: request.operation != 'DELETE'
    reason: Forbidden
    message: >-
      With this definition all its objects would go, and nobody would be asked about them. Only Headgate's
      administrators (guard.admins in the chart's values) may delete it.
  - expression: >-
      request.operation == 'DELETE' ||
      (object.spec.scope == oldObject.spec.scope && object.spec.names == oldObject.spec.names)
    reason: Forbidden
    message: "Scope and names of this definition decide whether Headgate is asked: only guard.admins and guard.definitions may change them."
  - expression: >-
      request.operation == 'DELETE' || (
      {{ include "headgate.cel.same" (dict "old" "oldObject.spec" "new" "object.spec" "fields" (list "conversion" "preserveUnknownFields")) }})
    reason: Forbidden
    message: "A conversion can rewrite stored policies unseen: only guard.admins and guard.definitions may change it."
  - expression: >-
      request.operation == 'DELETE' || oldObject.spec.versions.all(o, object.spec.versions.exists(n, n.name == o.name &&
      n.storage == o.storage && (n.served || !o.served) &&
      {{ include "headgate.cel.same" (dict "old" "o" "new" "n" "fields" (list "subresources")) }}))
    reason: Forbidden
    message: >-
      A version of this definition would go, be served no more, be stored no more, or have other subresources: only
      guard.admins and guard.definitions may do that.
  - expression: >-
      request.operation == 'DELETE' || oldObject.spec.versions.all(o, object.spec.versions.all(n, n.name != o.name ||
      !has(o.schema) || !has(o.schema.openAPIV3Schema) || (has(n.schema) && has(n.schema.openAPIV3Schema) &&
      {{ include "headgate.cel.keepsSchema" (dict "old" "o.schema.openAPIV3Schema" "new" "n.schema.openAPIV3Schema" "depth" 9) | nindent 6 | trim }})))
    reason: Forbidden
    message: >-
      The schema would lose a field, or have another type or default: that changes stored policies unseen. Only
      guard.admins and guard.definitions may do that.
{{- end }}

{{/* Who says what Git is. The status says which commit is in force: that is the sync loop's alone. */}}
{{- define "headgate.guard.sources" -}}
{{- $sync := include "headgate.cel.isSync" . -}}
matchConstraints:
  resourceRules:
    - apiGroups: [headgate.dev]
      apiVersions: ["*"]
      resources: [policysources, policysources/status]
      operations: [CREATE, UPDATE, DELETE]
    # Making and ending grants is left to RBAC and to the policy below.
    - apiGroups: [headgate.dev]
      apiVersions: ["*"]
      resources: [policygrants, policygrants/status]
      operations: [UPDATE]
variables:
  - name: isStatus
    expression: has(request.subResource) && request.subResource == 'status'
  - name: isSync
    expression: {{ $sync | quote }}
  - name: isAdmin
    expression: >-
      {{ include "headgate.cel.isOneOf" .Values.guard.admins | nindent 6 | trim }}
  - name: isDelegate
    expression: >-
      request.resource.resource == 'policysources' &&
      {{ include "headgate.cel.isOneOf" .Values.guard.sources | nindent 6 | trim }}
  # Finalizers and the like: what the sync loop and the garbage collector put there and take away.
  - name: keepsSpec
    expression: >-
      request.operation == 'UPDATE' &&
      {{ include "headgate.cel.same" (dict "old" "dyn(oldObject)" "new" "dyn(object)" "fields" (list "spec")) }}
validations:
  - expression: "!variables.isStatus || variables.isSync"
    reason: Forbidden
    message: "The status says what is in force: only the sync loop writes it."
  - expression: >-
      variables.isStatus || variables.isAdmin || variables.isDelegate ||
      (variables.isSync && variables.keepsSpec) ||
      ({{ include "headgate.cel.isGarbageCollector" . }} && (variables.keepsSpec || request.operation == 'DELETE'))
    reason: Forbidden
    messageExpression: >-
      request.resource.resource == 'policygrants' ?
      "A grant is not changed, but deleted and made anew: only Headgate's administrators may." :
      "Who writes policysources decides what Git is. Only Headgate's administrators may, and those whom guard.sources " +
      "names in the chart's values."
{{- end }}

{{/*
A grant covers the user that it names. The API server sees to it that nobody names another: Headgate itself is
not asked about grants. There whatever guard.enabled says, and it refuses in Audit, too: grants outlive that mode.
*/}}
{{- define "headgate.guard.grants" -}}
matchConstraints:
  resourceRules:
    - apiGroups: [headgate.dev]
      apiVersions: ["*"]
      resources: [policygrants]
      operations: [CREATE]
validations:
  {{- if .Values.config.grants.enabled }}
  - expression: object.spec.requestedBy == request.userInfo.username
    messageExpression: >-
      "spec.requestedBy has to be who makes the grant: " + request.userInfo.username
  - expression: duration(object.spec.duration) <= duration({{ .Values.config.grants.maxDuration | squote }})
    message: spec.duration is longer than grants.maxDuration, {{ .Values.config.grants.maxDuration }}
  {{- else }}
  - expression: "false"
    message: break-glass is switched off (grants.enabled in Headgate's configuration)
  {{- end }}
{{- end }}

{{/* The lock: guarded objects are written by the sync loop, and by whom an exemption names. */}}
{{- define "headgate.guard.writers" -}}
{{- if eq .Values.config.mode "Audit" }}
{{- fail "lockWriters: true refuses every writer but the sync loop, and config.mode: Audit promises to refuse nothing: set one of them otherwise" }}
{{- end }}
{{- if eq .Values.config.uncovered "Allow" }}
{{- fail "lockWriters: true cannot know which objects a source covers, so config.uncovered: Allow would have no effect: set one of them otherwise" }}
{{- end }}
{{- if not (int .Values.sync.replicas) }}
{{- fail "lockWriters: true leaves the sync loop as the only writer, and sync.replicas is 0: nobody could write a policy. Leave the lock out where another deployer applies HEAD" }}
{{- end }}
{{- if .Values.config.exemptionPresets }}
{{- fail "lockWriters: true does not know what exemptionPresets stand for: write them out under config.exemptions (`headgate exemptions --presets -o yaml` prints them)" }}
{{- end }}
{{- range .Values.config.exemptions }}
{{- if or .until .storedNames }}
{{- fail (printf "lockWriters: the exemption %q has an end or names stored objects, which a policy of the API server cannot hold to: take it out, or leave the lock out meanwhile" .reason) }}
{{- end }}
{{- end }}
{{- $guarded := include "headgate.guarded" . | fromYamlArray -}}
matchConstraints:
  # A write through another version or group of the same resource counts, too.
  matchPolicy: Equivalent
  resourceRules:
    {{- range $guarded }}
    - apiGroups: [{{ .group | quote }}]
      apiVersions: ["*"]
      # Not their status: that is written by those who put policies into effect.
      resources: {{ .resources | toJson }}
      operations: [CREATE, UPDATE, DELETE]
    {{- end }}
{{- $limited := list }}
{{- range $guarded }}
{{- if .namespaces }}
{{- $limited = append $limited . }}
{{- end }}
{{- end }}
matchConditions:
  - name: not-the-sync-loop
    expression: "!{{ include "headgate.cel.isSync" . | replace "\"" "'" }}"
  - name: not-the-end-of-a-namespace
    expression: >-
      !(request.operation == 'DELETE' &&
      request.userInfo.username in ['system:serviceaccount:kube-system:namespace-controller', 'system:kube-controller-manager'])
  - name: not-garbage-collection
    expression: >-
      !(request.operation in ['UPDATE', 'DELETE'] && {{ include "headgate.cel.isGarbageCollector" . }})
  - name: not-creation-of-built-in-tiers
    expression: >-
      !(request.operation == 'CREATE' && request.resource.resource == 'tiers' &&
      request.resource.group in ['projectcalico.org', 'crd.projectcalico.org'] && has(object.metadata.name) &&
      object.metadata.name in ['default', 'kube-admin', 'kube-baseline', 'adminnetworkpolicy', 'baselineadminnetworkpolicy'])
  {{- with .Values.lockWritersStorage }}
  - name: not-calicos-api-server-storing
    expression: >-
      !(request.resource.group == 'crd.projectcalico.org' && request.userInfo.username in {{ . | toJson }})
  {{- end }}
  {{- if $limited }}
  - name: where-it-is-guarded
    expression: >-
      true
      {{- range $limited }} &&
      !(request.resource.group == '{{ .group }}' && request.resource.resource == '{{ first .resources }}' &&
      !(request.namespace in {{ .namespaces | toJson }}))
      {{- end }}
  {{- end }}
variables:
  - name: states
    expression: "[dyn(object), dyn(oldObject)].filter(s, s != null)"
  {{- $root := . }}
  - name: exempt
    expression: >-
      false
      {{- range .Values.config.exemptions }} ||
      {{ include "headgate.cel.exemption" (dict "exemption" . "genericKinds" $root.Values.config.genericKinds) | nindent 6 | trim }}
      {{- end }}
  # Storage migration, and finalizers that go from what is being deleted.
  - name: changesNothing
    expression: >-
      request.operation == 'UPDATE' && dyn(object).all(k, k == 'metadata' || (k in dyn(oldObject) &&
      dyn(object)[k] == dyn(oldObject)[k])) && dyn(oldObject).all(k, k == 'metadata' || k in dyn(object)) &&
      {{ include "headgate.cel.same" (dict "old" "dyn(oldObject).metadata" "new" "dyn(object).metadata" "fields" (list "labels" "annotations" "ownerReferences")) }} &&
      ({{ include "headgate.cel.same" (dict "old" "dyn(oldObject).metadata" "new" "dyn(object).metadata" "fields" (list "finalizers")) }} ||
      (has(dyn(oldObject).metadata.deletionTimestamp) && (!has(dyn(object).metadata.finalizers) ||
      (has(dyn(oldObject).metadata.finalizers) &&
      dyn(object).metadata.finalizers.all(f, f in dyn(oldObject).metadata.finalizers)))))
validations:
  - expression: variables.exempt || variables.changesNothing
    reason: Forbidden
    message: >-
      Network policy comes from Git: only Headgate's sync loop writes it in this cluster (lockWriters in the chart's values).
{{- end }}
