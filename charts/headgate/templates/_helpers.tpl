{{/*
Fills in what values of an older release do not have (helm upgrade --reuse-values). Every file begins with it: files
are rendered in no order. Not Sprig's merge, which takes a false for nothing.
*/}}
{{- define "headgate.defaults" -}}
{{- $values := .Values }}
{{- range $section, $defaults := include "headgate.newerValues" . | fromYaml }}
{{- if not (hasKey $values $section) }}
{{- $_ := set $values $section $defaults }}
{{- else if kindIs "map" $defaults }}
{{- $present := get $values $section }}
{{- range $key, $default := $defaults }}
{{- if not (hasKey $present $key) }}
{{- $_ := set $present $key $default }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What came after the first release, as values.yaml has it. */}}
{{- define "headgate.newerValues" -}}
config:
  dryRun: Deny
  genericKinds: []
  exemptionPresets: []
  exemptions: []
  guardNamespaces: false
  grants: {enabled: true, maxDuration: 4h}
certificates:
  selfManaged: {validDays: 90, extraNames: [], settleSeconds: 30}
  certManager: {issuerRef: {}, injector: "system:serviceaccount:cert-manager:cert-manager-cainjector"}
guard:
  enabled: true
  admins: {users: [], groups: ["system:masters"]}
  sources: {users: [], groups: []}
  definitions: {users: [], groups: []}
lockWriters: false
lockWritersStorage: []
uninstall: {hook: true, timeoutSeconds: 120}
webhook: {drainSeconds: 5}
push: {enabled: false, port: 8090, tls: {secretName: ""}, service: {type: ClusterIP, annotations: {}}}
{{- end }}

{{- define "headgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Short enough for "-webhook-tls" and the like to fit into a label's 63 characters. */}}
{{- define "headgate.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "headgate.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: headgate
{{ include "headgate.selector" . }}
{{- end }}

{{- define "headgate.selector" -}}
app.kubernetes.io/name: {{ include "headgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "headgate.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* Who makes the certificate; values of an older release may say less than today's. */}}
{{- define "headgate.certificateMode" -}}
{{- $mode := .Values.certificates.mode }}
{{- if and (eq $mode "self-managed") (not (int .Values.sync.replicas)) }}
{{- fail "certificates.mode: self-managed needs the sync loop, which makes the certificate, and sync.replicas is 0: set another mode, or sync.enabled: false in each PolicySource instead" }}
{{- end }}
{{- $mode }}
{{- end }}

{{/* The Secret that holds tls.crt and tls.key. In self-managed one of its own: what another mode left is served until its successor is. */}}
{{- define "headgate.certificateSecret" -}}
{{- if eq .Values.certificates.mode "self-managed" -}}
{{ include "headgate.fullname" . }}-webhook-certs
{{- else -}}
{{- if eq .Values.certificates.mode "existing" -}}
{{ required "certificates.existing.secretName is needed where certificates.mode is existing" .Values.certificates.existing.secretName }}
{{- else -}}
{{ include "headgate.fullname" . }}-webhook-tls
{{- end }}
{{- end }}
{{- end }}

{{/* The names under which the API server, or a tunnel to it, reaches the webhook: a YAML list. */}}
{{- define "headgate.dnsNames" -}}
{{- $service := printf "%s-webhook" (include "headgate.fullname" .) -}}
- {{ $service }}.{{ .Release.Namespace }}.svc
- {{ $service }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
- {{ $service }}.{{ .Release.Namespace }}
- {{ $service }}
{{- end }}
