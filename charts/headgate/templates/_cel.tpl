{{/* Parts of CEL expressions. Lists and texts are written as JSON, which is CEL, too. */}}

{{/* Whether the requester is one of the users or in one of the groups. */}}
{{- define "headgate.cel.isOneOf" -}}
(request.userInfo.username in {{ .users | default list | toJson }} ||
{{ " " }}request.userInfo.groups.exists(g, g in {{ .groups | default list | toJson }}))
{{- end }}

{{- define "headgate.cel.isSync" -}}
(request.userInfo.username == {{ printf "system:serviceaccount:%s:%s-sync" .Release.Namespace (include "headgate.fullname" .) | toJson }})
{{- end }}

{{- define "headgate.cel.isUninstaller" -}}
(request.userInfo.username == {{ printf "system:serviceaccount:%s:%s-uninstall" .Release.Namespace (include "headgate.fullname" .) | toJson }})
{{- end }}

{{- define "headgate.cel.isGarbageCollector" -}}
(request.userInfo.username in ["system:serviceaccount:kube-system:generic-garbage-collector", "system:kube-controller-manager"])
{{- end }}

{{/* Whether two things have the same fields of this name: the same value, or both none. */}}
{{- define "headgate.cel.same" -}}
{{- $old := .old }}{{ $new := .new }}
{{- range $index, $field := .fields }}
{{- if $index }} && {{ end -}}
(has({{ $old }}.{{ $field }}) == has({{ $new }}.{{ $field }}) && (!has({{ $old }}.{{ $field }}) || {{ $old }}.{{ $field }} == {{ $new }}.{{ $field }}))
{{- end }}
{{- end }}

{{/*
Whether a schema, as it is to be, keeps what the stored one says about what is stored: no field goes (the
API server would drop its content from every object), no field's type, default or freedom changes, and no
new field has a default. CEL has no recursion, so the template has it: .depth levels of fields, below which
nothing may change. A list or a map counts as what is in it; a schema cannot have both beside fields.
*/}}
{{- define "headgate.cel.keepsSchema" -}}
{{- $o := printf "o%d" .depth }}{{ $n := printf "n%d" .depth }}
{{- $p := printf "p%d" .depth }}{{ $q := printf "q%d" .depth }}
{{- $free := "x-kubernetes-preserve-unknown-fields" }}
{{- if eq .depth 0 -}}
{{ .old }} == {{ .new }}
{{- else -}}
[dyn({{ .old }})].all({{ $o }}, [dyn({{ .new }})].all({{ $n }},
{{ " " }}{{ include "headgate.cel.same" (dict "old" $o "new" $n "fields" (list "type" "default")) }} &&
{{ " " }}({{ $free | toJson }} in {{ $o }}) == ({{ $free | toJson }} in {{ $n }}) &&
{{ " " }}has({{ $o }}.items) == has({{ $n }}.items) && has({{ $o }}.additionalProperties) == has({{ $n }}.additionalProperties) &&
{{ " " }}[has({{ $o }}.items) ? {{ $o }}.items : has({{ $o }}.additionalProperties) && type({{ $o }}.additionalProperties) == map ? {{ $o }}.additionalProperties : {{ $o }}].all({{ $p }},
{{ " " }}[has({{ $n }}.items) ? {{ $n }}.items : has({{ $n }}.additionalProperties) && type({{ $n }}.additionalProperties) == map ? {{ $n }}.additionalProperties : {{ $n }}].all({{ $q }},
{{ " " }}{{ include "headgate.cel.same" (dict "old" $p "new" $q "fields" (list "type" "default")) }} &&
{{ " " }}({{ $free | toJson }} in {{ $p }}) == ({{ $free | toJson }} in {{ $q }}) &&
{{ " " }}has({{ $p }}.items) == has({{ $q }}.items) &&
{{ " " }}(!has({{ $q }}.properties) || {{ $q }}.properties.all(k, (has({{ $p }}.properties) && k in {{ $p }}.properties) || !has({{ $q }}.properties[k].default))) &&
{{ " " }}(!has({{ $p }}.properties) || (has({{ $q }}.properties) && {{ $p }}.properties.all(k, k in {{ $q }}.properties && {{ include "headgate.cel.keepsSchema" (dict "old" (printf "%s.properties[k]" $p) "new" (printf "%s.properties[k]" $q) "depth" (sub .depth 1)) }})))))))
{{- end }}
{{- end }}

{{/* A glob of an exemption as a regular expression; what CEL's engine has no words for is refused. */}}
{{- define "headgate.cel.glob" -}}
{{- if regexMatch `[^A-Za-z0-9.:*?_-]` . }}
{{- fail (printf "lockWriters: the pattern %q of an exemption cannot be written in CEL; of globs it knows * and ?" .) }}
{{- end -}}
^{{ . | replace "." "[.]" | replace "*" ".*" | replace "?" "." }}$
{{- end }}

{{/* Whether an exemption names this request: who, what, and on an UPDATE the object before and after. */}}
{{- define "headgate.cel.exemption" -}}
{{- $exemption := .exemption }}
{{- $resources := list }}
{{- range $kind := include "headgate.kinds" . | fromYamlArray }}
{{- if has $kind.name $exemption.kinds }}
{{- range $group, $version := $kind.served }}
{{- $resources = append $resources (printf "%s/%s" $group $kind.plural) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $kind := .genericKinds }}
{{- if has (printf "%s.%s" (lower $kind.kind) $kind.group | trimSuffix ".") $exemption.kinds }}
{{- $resources = append $resources (printf "%s/%s" $kind.group $kind.plural) }}
{{- end }}
{{- end -}}
({{ include "headgate.cel.isOneOf" (dict "users" $exemption.users "groups" $exemption.groups) }}
{{ " " }}&& (request.resource.group + "/" + request.resource.resource) in {{ $resources | toJson }}
{{- with $exemption.operations }}
{{ " " }}&& request.operation in {{ . | toJson }}
{{- end }}
{{- with $exemption.namespaces }}
{{ " " }}&& has(request.namespace) && (
{{- range $index, $glob := . }}{{ if $index }} || {{ end }}request.namespace.matches({{ include "headgate.cel.glob" $glob | toJson }}){{ end -}}
)
{{- end }}
{{- $conditions := list }}
{{- with $exemption.names }}
{{- $globs := list }}
{{- range . }}
{{- $globs = append $globs (printf "s.metadata.name.matches(%s)" (include "headgate.cel.glob" . | toJson)) }}
{{- end }}
{{- $conditions = append $conditions (printf "has(s.metadata.name) && (%s)" (join " || " $globs)) }}
{{- end }}
{{- with $exemption.labels }}
{{- $conditions = append $conditions "has(s.metadata.labels)" }}
{{- range $name, $value := . }}
{{- $conditions = append $conditions (printf "%s in s.metadata.labels && s.metadata.labels[%s] == %s" ($name | toJson) ($name | toJson) ($value | toJson)) }}
{{- end }}
{{- end }}
{{- with $exemption.ownerKinds }}
{{- $conditions = append $conditions (printf "has(s.metadata.ownerReferences) && s.metadata.ownerReferences.exists(w, w.kind in %s)" (. | toJson)) }}
{{- end }}
{{- with $conditions }}
{{ " " }}&& variables.states.all(s, {{ join " && " . }})
{{- end }})
{{- end }}
