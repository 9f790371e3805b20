{{- define "artifact-downloader.labels" -}}
app.kubernetes.io/name: artifact-downloader
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* Of pods: these never change, as the template of a Job must not. */ -}}
{{- define "artifact-downloader.podLabels" -}}
app.kubernetes.io/name: artifact-downloader
app.kubernetes.io/instance: {{ .root.Release.Name }}
artifact-downloader/artifact: {{ .artifact.name }}
{{- end }}

{{- /* What no retry can help fails the Job at once; what Kubernetes itself ends costs no attempt. */ -}}
{{- define "artifact-downloader.podFailurePolicy" -}}
rules:
  - action: Ignore
    onPodConditions:
      - type: DisruptionTarget
        status: "True"
  - action: FailJob
    onExitCodes:
      operator: In
      values: [64, 66, 73, 77, 78]
{{- end }}

{{- /* A claim of its own is the artifact's folder; in a shared one the artifact has a folder, which the run makes. */ -}}
{{- define "artifact-downloader.target" -}}
{{- if .artifact.existingClaim -}}
/cache/{{ .artifact.folder | default .artifact.name }}
{{- else -}}
/cache
{{- end -}}
{{- end }}

{{- define "artifact-downloader.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ with .Values.image.variant }}-{{ . }}{{ end }}
{{- end -}}
{{- end }}

{{- define "artifact-downloader.claim" -}}
{{- .artifact.existingClaim | default (printf "%s-%s" .root.Release.Name .artifact.name) -}}
{{- end }}

{{- /* The pod of one entry: `root` is the chart's scope, `artifact` the entry, `args` what the container is given. */ -}}
{{- define "artifact-downloader.pod" -}}
{{- $values := .root.Values -}}
restartPolicy: Never
{{- if $values.status.enabled }}
serviceAccountName: {{ .root.Release.Name }}-artifact-downloader
{{- else }}
automountServiceAccountToken: false
{{- end }}
enableServiceLinks: false
terminationGracePeriodSeconds: 30
{{- with $values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .artifact.shards }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "artifact-downloader.podLabels" (dict "root" .root "artifact" .artifact) | nindent 8 }}
{{- end }}
securityContext: {{- toYaml $values.podSecurityContext | nindent 2 }}
containers:
  - name: download
    image: {{ include "artifact-downloader.image" .root }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    args: {{- toYaml .args | nindent 6 }}
    env:
      - {name: TARGET_DIR, value: {{ include "artifact-downloader.target" . | quote }}}
      {{- with .artifact.shards }}
      - {name: AIM_DOWNLOADER_SHARDS, value: {{ . | quote }}}
      {{- end }}
      {{- with .artifact.aimArtifact }}
      - {name: ARTIFACT_NAME, value: {{ . | quote }}}
      - {name: ARTIFACT_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
      {{- end }}
      {{- with $values.hub.tokenSecret }}
      - {name: HF_TOKEN, valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: token, optional: true}}}
      {{- end }}
      {{- with $values.s3.endpoint }}
      - {name: AWS_ENDPOINT_URL, value: {{ . | quote }}}
      {{- end }}
      {{- with $values.s3.region }}
      - {name: AWS_REGION, value: {{ . | quote }}}
      {{- end }}
      {{- if $values.s3.keysSecret }}
      - {name: AIM_S3_AUTH_MODE, value: static}
      - {name: AWS_ACCESS_KEY_ID_FILE, value: /var/run/secrets/s3/access-key-id}
      - {name: AWS_SECRET_ACCESS_KEY_FILE, value: /var/run/secrets/s3/secret-access-key}
      {{- end }}
      {{- if $values.caBundle.configMap }}
      - {name: AIM_CA_BUNDLE, value: /etc/artifact-downloader/ca/ca.crt}
      {{- end }}
      {{- with concat $values.env (.artifact.env | default list) }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- with $values.envFrom }}
    envFrom: {{- toYaml . | nindent 6 }}
    {{- end }}
    resources: {{- toYaml $values.resources | nindent 6 }}
    securityContext: {{- toYaml $values.securityContext | nindent 6 }}
    volumeMounts:
      - {name: target, mountPath: /cache}
      - {name: scratch, mountPath: /tmp}
      {{- if $values.s3.keysSecret }}
      - {name: s3-keys, mountPath: /var/run/secrets/s3, readOnly: true}
      {{- end }}
      {{- if $values.caBundle.configMap }}
      - {name: ca, mountPath: /etc/artifact-downloader/ca, readOnly: true}
      {{- end }}
      {{- with $values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - name: target
    persistentVolumeClaim:
      claimName: {{ include "artifact-downloader.claim" . }}
  - name: scratch
    emptyDir:
      sizeLimit: {{ $values.scratchSize }}
  {{- with $values.s3.keysSecret }}
  - name: s3-keys
    secret:
      secretName: {{ . }}
  {{- end }}
  {{- with $values.caBundle.configMap }}
  - name: ca
    configMap:
      name: {{ . }}
  {{- end }}
  {{- with $values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
