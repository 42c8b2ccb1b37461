{{- define "gattway.name" -}}
{{- if contains "gattway" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-gattway" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "gattway.selector" -}}
app.kubernetes.io/name: gattway
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "gattway.labels" -}}
app.kubernetes.io/name: gattway
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "gattway.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "gattway.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "gattway.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "gattway.kind" -}}
{{- if .Values.outbox.persistent }}StatefulSet{{ else }}Deployment{{ end }}
{{- end }}

{{/* What the gateways and the migrations have in common. */}}
{{- define "gattway.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "gattway.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "gattway.databaseUrl" -}}
- name: GATTWAY_LEDGER__URL
  valueFrom:
    secretKeyRef: {name: {{ .Values.database.secret | quote }}, key: {{ .Values.database.key | quote }}}
{{- end }}

{{/* Pods of the Deployment and of the StatefulSet alike. */}}
{{- define "gattway.pod" -}}
metadata:
  labels:
    {{- include "gattway.selector" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # A new config is a new pod.
    checksum/config: {{ .Values.config | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "gattway.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add .Values.server.drainSeconds .Values.server.graceSeconds 15 }}
  securityContext:
    {{- include "gattway.podSecurityContext" . | nindent 4 }}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- range $topology := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - topologyKey: {{ $topology }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "gattway.selector" $ | nindent 10 }}
    {{- end }}
  containers:
    - name: gateway
      image: {{ include "gattway.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve, --host, "0.0.0.0", --port, "8000", --workers, {{ .Values.server.workers | quote }}]
      ports:
        - {name: http, containerPort: 8000}
      env:
        {{- if .Values.config }}
        - {name: GATTWAY_CONFIG, value: /etc/gattway/gattway.toml}
        {{- end }}
        - {name: GATTWAY_SERVER__OPEN, value: {{ .Values.server.open | quote }}}
        - {name: GATTWAY_SERVER__GRACE_S, value: {{ .Values.server.graceSeconds | quote }}}
        - {name: GATTWAY_LOGGING__FORMAT, value: json}
        {{- if .Values.database.secret }}
        {{- include "gattway.databaseUrl" . | nindent 8 }}
        {{- end }}
        {{- if .Values.contentKey.secret }}
        - {name: GATTWAY_LEDGER__KEY_FILE, value: /etc/gattway-key/key}
        {{- end }}
        {{- range $name, $from := .Values.secretEnv }}
        - name: {{ $name }}
          valueFrom:
            secretKeyRef: {name: {{ $from.secret | quote }}, key: {{ $from.key | quote }}}
        {{- end }}
        {{- range $name, $value := .Values.env }}
        - {name: {{ $name }}, value: {{ $value | quote }}}
        {{- end }}
      # Loading models in the process takes its time; a gateway without them is there in a second or two.
      startupProbe:
        httpGet: {path: /health/live, port: http}
        periodSeconds: 2
        failureThreshold: 90
      readinessProbe:
        httpGet: {path: /health/ready, port: http}
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      livenessProbe:
        httpGet: {path: /health/live, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      lifecycle:
        preStop:
          # Meanwhile the service's endpoints forget this pod.
          sleep: {seconds: {{ .Values.server.drainSeconds }}}
      securityContext:
        {{- include "gattway.securityContext" . | nindent 8 }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - {name: data, mountPath: /data}
        - {name: tmp, mountPath: /tmp}
        {{- if .Values.config }}
        - {name: config, mountPath: /etc/gattway, readOnly: true}
        {{- end }}
        {{- if .Values.contentKey.secret }}
        - {name: content-key, mountPath: /etc/gattway-key, readOnly: true}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - {name: tmp, emptyDir: {sizeLimit: 256Mi}}
    {{- if not .Values.outbox.persistent }}
    - {name: data, emptyDir: {sizeLimit: {{ .Values.outbox.size }}}}
    {{- end }}
    {{- if .Values.config }}
    - {name: config, configMap: {name: {{ include "gattway.name" . }}}}
    {{- end }}
    {{- if .Values.contentKey.secret }}
    - name: content-key
      secret:
        secretName: {{ .Values.contentKey.secret }}
        items: [{key: {{ .Values.contentKey.key | quote }}, path: key}]
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
