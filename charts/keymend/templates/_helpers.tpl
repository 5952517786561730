{{- define "keymend.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 48 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 48 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "keymend.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "keymend.labels" -}}
{{ include "keymend.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "keymend.secret" -}}
{{- if .Values.existingSecret }}{{ .Values.existingSecret }}
{{- else if .Values.secret }}{{ include "keymend.name" . }}
{{- else }}{{ fail "existingSecret is missing: name a Secret that has KEYMEND_HTTP_TOKEN and what config writes as ${NAME}" }}{{ end }}
{{- end }}

{{- define "keymend.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (ternary (include "keymend.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "keymend.image" -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}

{{- /* A file of the repository that the chart has a copy of. */ -}}
{{- define "keymend.config" -}}
{{- $http := dict "host" "0.0.0.0" "port" 9464 "token" "${KEYMEND_HTTP_TOKEN}" -}}
{{- toYaml (merge (dict "http" $http) .Values.config) }}
{{- end }}

{{- /* What every pod has: it may write nowhere and become nobody else. Takes (dict "root" $ "args" list). */ -}}
{{- define "keymend.pod" -}}
serviceAccountName: {{ include "keymend.serviceAccount" .root | trim }}
automountServiceAccountToken: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: { type: RuntimeDefault }
volumes:
  - name: config
    configMap: { name: {{ include "keymend.name" .root }} }
  {{- with .root.Values.volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "keymend.container" -}}
name: keymend
image: {{ include "keymend.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: {{ toJson .args }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
env:
  - { name: KEYMEND_CONFIG, value: /etc/keymend/keymend.yaml }
  {{- with .root.Values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
envFrom:
  - secretRef: { name: {{ include "keymend.secret" .root }} }
volumeMounts:
  - { name: config, mountPath: /etc/keymend, readOnly: true }
  {{- with .root.Values.volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
