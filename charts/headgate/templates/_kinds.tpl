{{/*
The kinds Headgate knows, as `headgate` itself lists them: a test holds the two equal. `webhook` is
the entry of the webhook configuration that a kind is in; Tiers have one of their own because
matchConditions hold for a whole entry.
*/}}
{{- define "headgate.kinds" -}}
- {name: networkpolicy.networking.k8s.io, plural: networkpolicies, webhook: kubernetes, served: {networking.k8s.io: v1}}
- {name: tier.projectcalico.org, plural: tiers, webhook: calico-tiers, served: {projectcalico.org: v3, crd.projectcalico.org: v1}}
- {name: networkpolicy.projectcalico.org, plural: networkpolicies, webhook: calico, served: {projectcalico.org: v3, crd.projectcalico.org: v1}}
- {name: globalnetworkpolicy.projectcalico.org, plural: globalnetworkpolicies, webhook: calico, served: {projectcalico.org: v3, crd.projectcalico.org: v1}}
- {name: stagednetworkpolicy.projectcalico.org, plural: stagednetworkpolicies, webhook: calico, served: {projectcalico.org: v3, crd.projectcalico.org: v1}}
- {name: stagedglobalnetworkpolicy.projectcalico.org, plural: stagedglobalnetworkpolicies, webhook: calico, served: {projectcalico.org: v3, crd.projectcalico.org: v1}}
- {name: stagedkubernetesnetworkpolicy.projectcalico.org, plural: stagedkubernetesnetworkpolicies, webhook: calico, served: {projectcalico.org: v3, crd.projectcalico.org: v1}}
- {name: networkset.projectcalico.org, plural: networksets, webhook: calico, served: {projectcalico.org: v3, crd.projectcalico.org: v1}}
- {name: globalnetworkset.projectcalico.org, plural: globalnetworksets, webhook: calico, served: {projectcalico.org: v3, crd.projectcalico.org: v1}}
- {name: hostendpoint.projectcalico.org, plural: hostendpoints, webhook: calico, served: {projectcalico.org: v3, crd.projectcalico.org: v1}}
- {name: adminnetworkpolicy.policy.networking.k8s.io, plural: adminnetworkpolicies, webhook: policy-api, served: {policy.networking.k8s.io: v1alpha1}}
- {name: baselineadminnetworkpolicy.policy.networking.k8s.io, plural: baselineadminnetworkpolicies, webhook: policy-api, served: {policy.networking.k8s.io: v1alpha1}}
- {name: clusternetworkpolicy.policy.networking.k8s.io, plural: clusternetworkpolicies, webhook: policy-api, served: {policy.networking.k8s.io: v1alpha2}}
- {name: ciliumnetworkpolicy.cilium.io, plural: ciliumnetworkpolicies, webhook: cilium, served: {cilium.io: v2}}
- {name: ciliumclusterwidenetworkpolicy.cilium.io, plural: ciliumclusterwidenetworkpolicies, webhook: cilium, served: {cilium.io: v2}}
{{- end }}

{{/*
The guarded resources, as a YAML list of {webhook, group, version, resources, namespaces}: namespaces
only where a kind is guarded in some of them.
*/}}
{{- define "headgate.guarded" -}}
{{- $guarded := .Values.config.guardedKinds }}
{{- $rules := dict }}
{{- range $kind := include "headgate.kinds" . | fromYamlArray }}
{{- if has $kind.name $guarded }}
{{- range $group, $version := $kind.served }}
{{- $id := printf "%s %s %s" $kind.webhook $group $version }}
{{- $sofar := dig $id "resources" list $rules }}
{{- $_ := set $rules $id (dict "webhook" $kind.webhook "group" $group "version" $version "resources" (append $sofar $kind.plural)) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $kind := .Values.config.genericKinds }}
{{- $webhook := empty $kind.namespaces | ternary "generic" "namespaces" }}
{{- $id := printf "%s %s %s %s" $webhook $kind.group $kind.version $kind.plural }}
{{- $_ := set $rules $id (dict "webhook" $webhook "group" $kind.group "version" $kind.version "resources" (list $kind.plural) "namespaces" ($kind.namespaces | default list)) }}
{{- end }}
{{- range $id := keys $rules | sortAlpha }}
- {{ get $rules $id | toJson }}
{{- end }}
{{- end }}
