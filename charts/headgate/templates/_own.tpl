{{/*
Headgate's own objects in the cluster, as one stream of manifests. They are rendered twice: as they are, and
into the ConfigMap from which the sync loop puts them back. .root is the chart's context, .caBundle what the
chart knows of the webhook's CA.
*/}}
{{- define "headgate.own" -}}
{{- template "headgate.own.webhooks" . }}
{{- with .root }}
---
{{- template "headgate.own.policy" (dict "root" . "name" "grants" "actions" "[Deny]") }}
{{- if .Values.guard.enabled }}
---
{{- template "headgate.own.policy" (dict "root" . "name" "webhooks") }}
---
{{- template "headgate.own.policy" (dict "root" . "name" "definitions") }}
---
{{- template "headgate.own.policy" (dict "root" . "name" "sources") }}
{{- end }}
{{- if .Values.lockWriters }}
---
{{- template "headgate.own.policy" (dict "root" . "name" "writers") }}
{{- end }}
{{- end }}
{{- end }}

{{/* The names of the admission policies, as a YAML list. */}}
{{- define "headgate.own.policyNames" -}}
{{- $fullname := include "headgate.fullname" . }}
{{- $names := list "grants" }}
{{- if .Values.guard.enabled }}
{{- $names = list "grants" "webhooks" "definitions" "sources" }}
{{- end }}
{{- if .Values.lockWriters }}
{{- $names = append $names "writers" }}
{{- end }}
{{- range $names }}
- {{ $fullname }}-{{ . }}
{{- end }}
{{- end }}

{{/* One admission policy and its binding. In Audit nothing is refused, by these either, unless .actions says so. */}}
{{- define "headgate.own.policy" }}
{{- $fullname := include "headgate.fullname" .root }}
{{- $labels := include "headgate.labels" .root }}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ $fullname }}-{{ .name }}
  labels:
    {{- $labels | nindent 4 }}
    app.kubernetes.io/component: guard
spec:
  failurePolicy: Fail
  {{- include (printf "headgate.guard.%s" .name) .root | nindent 2 }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $fullname }}-{{ .name }}
  labels:
    {{- $labels | nindent 4 }}
    app.kubernetes.io/component: guard
spec:
  policyName: {{ $fullname }}-{{ .name }}
  validationActions: {{ .actions | default (eq .root.Values.config.mode "Audit" | ternary "[Warn, Audit]" "[Deny]") }}
{{- end }}
