{{/* The webhook configuration. */}}
{{- define "headgate.own.webhooks" }}
{{- $fullname := include "headgate.fullname" .root }}
{{- $mode := .root.Values.certificates.mode }}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: {{ $fullname }}
  labels:
    {{- include "headgate.labels" .root | nindent 4 }}
    app.kubernetes.io/component: webhook
  {{- if eq $mode "cert-manager" }}
  annotations:
    cert-manager.io/inject-ca-from: {{ .root.Release.Namespace }}/{{ $fullname }}-webhook
  {{- end }}
# No namespaceSelector and no objectSelector: who may label could otherwise step around Git.
webhooks:
  {{- $guarded := include "headgate.guarded" .root | fromYamlArray }}
  {{- range $webhook := list "kubernetes" "calico" "calico-tiers" "policy-api" "cilium" "generic" "namespaces" }}
  {{- $rules := list }}
  {{- range $guarded }}
  {{- if eq .webhook $webhook }}
  {{- $rules = append $rules . }}
  {{- end }}
  {{- end }}
  {{- if $rules }}
  - name: {{ $webhook }}.headgate.dev
    admissionReviewVersions: [v1]
    clientConfig:
      service:
        name: {{ $fullname }}-webhook
        namespace: {{ $.root.Release.Namespace }}
        path: /validate
        port: 443
      {{- with $.caBundle }}
      caBundle: {{ . }}
      {{- end }}
    failurePolicy: {{ eq $.root.Values.config.mode "Audit" | ternary "Ignore" "Fail" }}
    matchPolicy: Equivalent
    sideEffects: NoneOnDryRun
    timeoutSeconds: 10
    {{- if eq $webhook "calico-tiers" }}
    # Calico creates its own Tiers when it starts, and does not start where the webhook cannot be reached,
    # which in turn may need Calico's network. The sync loop judges these Tiers afterwards.
    matchConditions:
      - name: not-creation-of-built-in-tiers
        expression: >-
          !(request.operation == 'CREATE' && has(object.metadata.name) && object.metadata.name in
          ['default', 'kube-admin', 'kube-baseline', 'adminnetworkpolicy', 'baselineadminnetworkpolicy'])
    {{- end }}
    {{- if eq $webhook "namespaces" }}
    # Where these kinds are not guarded, the API server does not even ask. A namespace's name is in the
    # request itself; its labels anybody might change.
    matchConditions:
      - name: in-namespaces-where-it-is-guarded
        expression: >-
          {{- range $index, $rule := $rules }}
          {{ if $index }}|| {{ end }}(request.resource.group == '{{ .group }}' &&
          request.resource.resource == '{{ first .resources }}' &&
          request.namespace in [{{ range $place, $name := .namespaces }}{{ if $place }}, {{ end }}'{{ $name }}'{{ end }}])
          {{- end }}
    {{- end }}
    rules:
      {{- range $rules }}
      - apiGroups: [{{ .group | quote }}]
        apiVersions: [{{ .version }}]
        resources:
          {{- range .resources }}
          - {{ . }}
          {{- end }}
        operations: [CREATE, UPDATE, DELETE]
        scope: "*"
      {{- end }}
  {{- end }}
  {{- end }}
  {{- if .root.Values.config.guardNamespaces }}
  # Deletions and nothing else about namespaces. The API server does not ask again about one that is going; the
  # condition makes sure: it has to be able to end, whether the webhook can be reached or not.
  - name: namespace-deletion.headgate.dev
    admissionReviewVersions: [v1]
    clientConfig:
      service:
        name: {{ $fullname }}-webhook
        namespace: {{ $.root.Release.Namespace }}
        path: /validate
        port: 443
      {{- with $.caBundle }}
      caBundle: {{ . }}
      {{- end }}
    failurePolicy: {{ eq $.root.Values.config.mode "Audit" | ternary "Ignore" "Fail" }}
    matchPolicy: Equivalent
    sideEffects: NoneOnDryRun
    timeoutSeconds: 10
    matchConditions:
      - name: not-going-already
        expression: "!has(oldObject.metadata.deletionTimestamp)"
    rules:
      - apiGroups: [""]
        apiVersions: [v1]
        resources: [namespaces]
        operations: [DELETE]
        scope: Cluster
  {{- end }}
  # Who changes what is trusted, for the record: never refused, and not waited for where the webhook cannot be
  # reached, since sources and Secrets are what Headgate is set up with. Of Secrets only those that sources may
  # name: one without the label is not read.
  {{- range $webhook := list "trust" "trust-secrets" }}
  - name: {{ $webhook }}.headgate.dev
    admissionReviewVersions: [v1]
    clientConfig:
      service:
        name: {{ $fullname }}-webhook
        namespace: {{ $.root.Release.Namespace }}
        path: /validate
        port: 443
      {{- with $.caBundle }}
      caBundle: {{ . }}
      {{- end }}
    failurePolicy: Ignore
    matchPolicy: Equivalent
    sideEffects: NoneOnDryRun
    timeoutSeconds: 3
    {{- if eq $webhook "trust" }}
    rules:
      - apiGroups: [headgate.dev]
        apiVersions: [v1alpha1]
        resources: [policysources, policygrants]
        operations: [CREATE, UPDATE, DELETE]
        scope: Cluster
    {{- else }}
    namespaceSelector:
      matchLabels: {kubernetes.io/metadata.name: {{ $.root.Release.Namespace | quote }}}
    objectSelector:
      matchLabels: {headgate.dev/credentials: "true"}
    rules:
      - apiGroups: [""]
        apiVersions: [v1]
        resources: [secrets]
        operations: [CREATE, UPDATE, DELETE]
        scope: Namespaced
    {{- end }}
  {{- end }}
{{- end }}
