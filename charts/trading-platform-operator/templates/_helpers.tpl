{{- define "trading-platform-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "trading-platform-operator.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "trading-platform-operator.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "trading-platform-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "trading-platform-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "trading-platform-operator.labels" -}}
{{ include "trading-platform-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "trading-platform-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "trading-platform-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "trading-platform-operator.leaseName" -}}
{{- default (include "trading-platform-operator.fullname" .) .Values.leaderElection.leaseName }}
{{- end }}

{{- define "trading-platform-operator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{/* Name of cluster-wide objects: unlike others it must tell releases in two namespaces apart. */}}
{{- define "trading-platform-operator.clusterName" -}}
{{ include "trading-platform-operator.fullname" . }}-{{ .Release.Namespace }}
{{- end }}

{{/* Plurals of the kinds that the definitions bring, as a YAML list. */}}
{{- define "trading-platform-operator.plurals" -}}
{{- $plurals := list }}
{{- range $path, $_ := .Files.Glob "files/crds/*.yaml" }}
{{- $plurals = append $plurals ($.Files.Get $path | fromYaml).spec.names.plural }}
{{- end }}
{{- toYaml $plurals }}
{{- end }}
